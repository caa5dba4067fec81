"""PI of repair instances as the repair agent's models read it: the edit, and what tests reach."""
