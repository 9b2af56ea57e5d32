"""Properties that no chip has, or that leave no circuit, are refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import (
    Clamp,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    UserError,
)
from eqprop_analog.devices import Law
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery

LAWS: dict[str, Law] = {"clamp": Clamp(on_resistance=100.0), "piecewise-linear": PiecewiseLinear()}


def network(law: Law | None = None, layers: tuple[int, ...] = (3, 6, 4, 2)) -> ResistiveNetwork:
    return ResistiveNetwork.dense(layers, diode=law, conductance_window=(1e-8, 1e-5))


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"offset": [0.1]}, "offset: expected one number, or one entry for each of 2 hidden layers, got 1"),
        ({"offset": [0.1, np.zeros(3)]}, r"offset: expected one number or an array of 4, got shape \(3,\)"),
        ({"offset": np.nan}, "offset: expected finite numbers, got nan"),
        ({"forward_factor": 0.0}, "forward_factor: expected positive numbers, got 0.0"),
        ({"return_factor": [1.0, np.inf]}, "return_factor: expected positive numbers, got inf"),
        ({"emission_factor": -1}, "emission_factor: expected positive numbers, got -1.0"),
        ({"saturation_voltage": 0.0}, "saturation_voltage: expected positive numbers"),
        ({"saturation_voltage": [1.0, [1, 1, np.inf, 1]]}, "for all amplifiers of a layer"),
        ({"input_conductance": -1e-9}, "input_conductance: expected numbers of at least 0"),
        ({"output_resistance": -1.0}, "output_resistance: expected numbers of at least 0"),
        ({"source_resistance": np.ones(5)}, "source_resistance: expected one number or an array of 6"),
        ({"nudge_factor": [1.0, 0.0]}, "nudge_factor: expected positive numbers, got 0.0"),
        ({"target_offset": [1.0]*3}, "target_offset: expected one number or an array of 2"),
        ({"celsius": -300.0}, "celsius: expected diodes above absolute zero"),
        ({"celsius": -270.0, "temperature_mismatch": -5.0}, "celsius: expected diodes above absolute zero"),
    ],
)  # fmt: skip
def test_what_no_chip_has_is_refused(own, says):
    with pytest.raises(UserError, match=says):
        NonidealNetwork(network(), Periphery(**own))


@pytest.mark.parametrize("law", ["clamp", "piecewise-linear"])
@pytest.mark.parametrize("name", ["saturation_factor", "emission_factor", "celsius", "temperature_mismatch"])
def test_a_law_without_junction_has_none_of_its_parameters(law, name):
    with pytest.raises(UserError, match=f"{name}: diodes of law"):
        NonidealNetwork(network(LAWS[law]), Periphery(**{name: 1.5}))


def test_targets_of_a_cross_entropy_have_no_offset():
    ideal = network(layers=(3, 5, 2))
    chip, x = NonidealNetwork(ideal, Periphery(target_offset=0.1)), np.ones((3, 3))
    with pytest.raises(UserError, match="leave target_offset at 0"):
        NonidealNewtonSolver().solve_phases(chip, x, [Nudge(np.array([[0, 1]]), 1e-8, "current", "cross-entropy")])


def test_what_makes_no_circuit_is_refused():
    ideal = network(layers=(3, 5, 2))
    wired, x, solver = NonidealNetwork(ideal, wire_resistance=10.0), np.ones((3, 3)), NonidealNewtonSolver()
    free = solver.solve(wired, x)
    with pytest.raises(UserError, match="wire_resistance"):
        NonidealNetwork(ideal, wire_resistance=-1.0)
    with pytest.raises(UserError, match="inputs: expected shape"):
        solver.solve(wired, np.zeros((2, 7)))
    with pytest.raises(UserError, match="expected a target of shape"):
        solver.solve(wired, x, Nudge(np.zeros((2, 2)), 1e-7))
    with pytest.raises(UserError, match="start: expected voltages"):
        solver.solve(wired, x[:1], start=free)
    with pytest.raises(UserError, match="pass it as start=free"):
        solver.solve(wired, x, Nudge(np.zeros((1, 2)), 1e-7, "current"))
    nudged = solver.solve(wired, x, Nudge(np.zeros((1, 2)), 1e-7))
    with pytest.raises(UserError, match="got a nudged"):
        solver.solve(wired, x, Nudge(np.zeros((1, 2)), 1e-7, "current"), start=nudged)
    pairs = NonidealNetwork(replace(ideal, outputs="pairs"), wire_resistance=10.0)
    with pytest.raises(UserError, match='pairs of outputs use kind="current"'):
        solver.solve(pairs, x, Nudge(np.zeros((1, 1)), 1e-7))
    empty = ideal.astype(float)
    empty.conductances[0][:, 2] = 0
    with pytest.raises(UserError, match="column 2 of crossbar 1 is all zero"):
        solver.solve(NonidealNetwork(empty, wire_resistance=10.0), x)
