"""Chips: specifications of imperfections, read-out of a chip, and fitted technologies."""
