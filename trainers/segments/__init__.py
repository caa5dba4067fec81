"""Distributions of short continuations, compared in embedding space. Source: CHOP §4.3."""
