#!/usr/bin/env python3
"""The same as `eqprop-analog xor`; --help lists the options."""

from eqprop_analog.cli import run_script

if __name__ == "__main__":
    run_script("xor")
