"""Losses: pure functions from logits or hidden states to tensors with one value for each token."""
