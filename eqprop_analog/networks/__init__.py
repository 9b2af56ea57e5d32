"""Kinds of networks, one folder each, and what they are built of."""
