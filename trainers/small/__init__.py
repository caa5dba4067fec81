"""Small language models for the repair task, trained from scratch on a corpus of repairs."""
