"""Runs: attempts scheduled, recorded, resumed."""
