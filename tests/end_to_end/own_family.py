"""Registers the oscillators of tests/oscillators.py, as a user's file does for --import."""

from oscillators import FAMILY

from eqprop_analog.core import register

register(FAMILY)
