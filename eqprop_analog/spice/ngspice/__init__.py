"""Equilibria measured by ngspice, in worker processes that may die."""
