"""Diagnostics of a distillation: what the gates see, and whether it holds. Source: CHOP §3."""
