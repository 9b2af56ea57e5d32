"""Equilibrium propagation: the contrast of two phases, the update, the trainer, and the exact gradient for comparison."""
