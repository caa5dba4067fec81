"""Training data from what runs recorded."""
