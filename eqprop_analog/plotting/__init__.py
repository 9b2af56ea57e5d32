"""Plots, one subject per file, readable in print and in greyscale."""
