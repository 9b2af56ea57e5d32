#!/usr/bin/env python3
"""`eqprop-analog bench lattice` under its own name; --help says everything."""

from eqprop_analog.cli import run_script

if __name__ == "__main__":
    run_script("bench", "lattice")
