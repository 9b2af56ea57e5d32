"""Layered resistive networks: Kirchhoff's current law, its solvers, circuit, power and settings."""
