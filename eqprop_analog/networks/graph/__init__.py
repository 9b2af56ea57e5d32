"""Resistive networks on any graph: equations, solver, circuit, tasks and settings."""
