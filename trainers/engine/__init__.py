"""The training engine: one step for every method, on one process or many."""
