"""Layered resistive networks with the imperfections of a chip: wires, and imperfect diodes, amplifiers and sources."""
