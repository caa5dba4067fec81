"""Synthesis of instances: bugs made in any Python package and validated by its own tests."""
