"""Layered resistive networks with the imperfections of a chip, solved for every node of the wires; cells may be nonlinear."""
