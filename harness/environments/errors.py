"""What the building of environments raises."""


class ImageError(Exception):
    """An image cannot be built; the message says what was found and what to do."""
