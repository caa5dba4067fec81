"""From recipes to images that sandboxes can start."""
