"""Resistive networks on imperfect chips: drawing, programming, learning, and statistics over many chips."""
