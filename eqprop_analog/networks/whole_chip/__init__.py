"""Layered resistive networks with a chip's imperfections, every wire's node an unknown of its own: cells need not be linear."""
