"""Resistive networks on chips that a fab delivers: drawn, programmed, learned on, and many of them."""
