"""Pipelines: stages of commands in one manifest, continued where they were stopped."""
