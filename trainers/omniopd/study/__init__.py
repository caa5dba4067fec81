"""The estimator study: what similarities of a few continuations say about a teacher's probability.

Source: OmniOPD §6.1, Table 3.
"""
