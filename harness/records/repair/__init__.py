"""The repair task: what may be changed, and the text of its states and actions."""
