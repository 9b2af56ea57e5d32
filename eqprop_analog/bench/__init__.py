"""Real circuits on a bench: a board as a solver, its driver over SCPI, a virtual board, and a programming plan."""

from eqprop_analog.bench.log import BenchLog, replay
from eqprop_analog.bench.pulsed import PulsedBoard
from eqprop_analog.bench.scpi import ScpiBoard, SocketResource, open_visa
from eqprop_analog.bench.solver import BenchSolver
from eqprop_analog.bench.virtual import VirtualBoard

__all__ = [
    "BenchLog",
    "BenchSolver",
    "PulsedBoard",
    "ScpiBoard",
    "SocketResource",
    "VirtualBoard",
    "open_visa",
    "replay",
]
