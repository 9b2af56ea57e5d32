"""The training step of layered resistive networks, compiled by numba."""
