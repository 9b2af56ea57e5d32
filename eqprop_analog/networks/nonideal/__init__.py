"""Layered resistive networks as a chip has them: with wires, imperfect diodes, amplifiers and sources."""
