"""OmniOPD: a teacher that gives text alone, asked where the student is least sure."""
