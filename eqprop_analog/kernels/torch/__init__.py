"""Phases and training of Hopfield networks on tensors."""
