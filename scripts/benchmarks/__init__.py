"""The benchmarks of `scripts/bench.py`: one module each, with the functions add_options and run, like a command."""

import argparse


def add_repeats(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option --repeats, at least 1."""
    parser.add_argument(
        "--repeats", type=_count, default=default, metavar="N", help=f"counted runs after a warm-up (default {default})"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)
