"""What is wrong with training data."""


class DataError(ValueError):
    """Data cannot be trained on; the text names the file and what would mend it."""
