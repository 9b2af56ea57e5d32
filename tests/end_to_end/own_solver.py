"""A user's solver: the package's Newton iteration, which also counts its batches."""

import json
from pathlib import Path

from eqprop_analog import SurrogateSolver
from eqprop_analog.experiments.solvers import register_solver


@register_solver("counting")
class CountingSolver(SurrogateSolver):
    def solve_phases(self, *arguments, **settings):
        counted = Path("counted.json")
        counted.write_text(json.dumps(1 + (json.loads(counted.read_text()) if counted.exists() else 0)))
        return super().solve_phases(*arguments, **settings)
