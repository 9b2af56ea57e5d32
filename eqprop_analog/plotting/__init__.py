"""Plots, one subject a file, readable in print and in grey."""
