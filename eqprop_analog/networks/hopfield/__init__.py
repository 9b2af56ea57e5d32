"""Continuous Hopfield networks, dense and convolutional: energy, dynamics, circuit, BPTT and settings."""
