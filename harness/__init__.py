"""Evaluate coding agents on SWE-bench and generate the data that trains better ones."""

__version__ = "0.1.0"
