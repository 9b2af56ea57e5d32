"""Resistive networks on imperfect chips: sampling, programming, learning, and statistics over many chips."""
