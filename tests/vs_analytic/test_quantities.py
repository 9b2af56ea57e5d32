"""One parser of quantities for command lines and files, and the suggestions for misspelt names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import NgspiceDiode, law_from
from eqprop_analog.devices.buffer import buffer_from
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.quantities import quantity
from eqprop_analog.spice.netlist import static_netlist


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("100nS", "S", 100e-9),
        ("100 nS", "S", 100e-9),
        ("100n", "S", 100e-9),
        ("1e-7", "S", 1e-7),
        ("1E-7S", "S", 1e-7),
        ("-0.5uS", "S", -5e-7),
        ("3.3µS", "S", 3.3e-6),
        ("3.3μS", "S", 3.3e-6),
        ("2 siemens", "S", 2.0),
        ("200mV", "V", 0.2),
        ("+.5 V", "V", 0.5),
        ("1fF", "F", 1e-15),
        ("1f", "F", 1e-15),
        ("1F", "F", 1.0),
        ("0.2pF", "F", 2e-13),
        ("1a", "A", 1e-18),
        ("1A", "A", 1.0),
        ("17.8pA", "A", 17.8e-12),
        ("10m", "s", 0.01),
        ("10ms", "s", 0.01),
        ("600s", "s", 600.0),
        ("4.7kohm", "ohm", 4700.0),
        ("4.7 kΩ", "ohm", 4700.0),
        ("1M", "ohm", 1e6),
        ("1m", "ohm", 1e-3),
        ("85 °C", "°C", 85.0),
        ("-40degC", "°C", -40.0),
        ("1e-14 S^2/V^2", "S²/V²", 1e-14),
        ("1e-14 S²/V²", "S²/V²", 1e-14),
        (3, "S", 3.0),
        (np.float32(0.5), "V", 0.5),
    ],
)
def test_a_quantity_is_its_number_times_its_prefix(text: Any, unit: str, value: float) -> None:
    assert float(quantity(text, unit)) == value


@pytest.mark.parametrize(
    ("text", "unit", "words"),
    [
        ("100nA", "S", "siemens.*amperes"),
        ("0.2V", "A", "amperes.*volts"),
        ("1s", "S", "siemens.*seconds"),
        ("1S", "s", "seconds.*siemens"),
        ("5K", "°C", "Celsius.*kelvin"),
        ("1meg", "ohm", "mega is M"),
        ("1 parsec", "V", "volts"),
        ("1kk", "ohm", "ohms"),
        ("nS", "S", "number"),
        ("", "S", "number"),
        ("1,5nS", "S", "siemens"),
        ("nan", "S", "number"),
        ("1e999", "S", "1e999.*beyond"),
        ("1e-14n", "S²/V²", "S²/V²"),
        (True, "S", "finite number"),
        (None, "S", "finite number"),
    ],
)
def test_another_unit_and_what_is_no_quantity_is_refused(text: Any, unit: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        quantity(text, unit)


def test_files_are_read_with_units() -> None:
    given = {
        "beta": "50nS",
        "input_gain": "10 V",
        "conductance_window": ["1nS", "0.1mS"],
        "bias_row": "-200mV",
        "conductance_rates": "6e-15 S^2/V^2",
        "diode": {"law": "ngspice", "saturation_current": "2nA", "rail": "0.1V", "celsius": "50 °C"},
    }
    config: Any = resolve("mnist-100", given)
    assert (config.beta, config.input_gain, config.bias_row) == (5e-8, 10.0, -0.2)
    assert config.conductance_window == (1e-9, 1e-4)
    assert config.conductance_rates == 6e-15
    assert config.network().diode == NgspiceDiode(saturation_current=2e-9, rail=0.1, celsius=50.0)
    assert Specification.of({"name": "x", "wires": {"resistance": "0.5 ohm"}}).wires.resistance == 0.5
    for name, value in (("beta", "50nA"), ("bias_row", "1A"), ("diode", {"law": "ngspice", "rail": "1A"})):
        with pytest.raises(UserError, match=name if name != "diode" else "rail"):
            resolve("mnist-100", {name: value})


def test_cross_entropy_has_its_nudge_in_amperes() -> None:
    given = {"cost": "cross-entropy", "kind": "current", "beta": "50nA"}
    assert resolve("mnist-100", given).beta == 5e-8
    with pytest.raises(UserError, match="siemens"):
        resolve("mnist-100", given | {"beta": "50nS"})


def test_settings_in_tables_are_overridden_by_dotted_names() -> None:
    config: Any = resolve("mnist-100", {"diode.rail": 0.3})
    assert config.network().diode.rail == 0.3
    assert config.network().diode.saturation_current == resolve("mnist-100", {}).network().diode.saturation_current  # type: ignore[union-attr]
    with pytest.raises(UserError, match="layers is not a table"):
        resolve("mnist-100", {"layers.first": 3})


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: resolve("mnist100", {}), "mnist-100"),
        (lambda: resolve("mnist-100", {"amplifer_gain": 3}), "amplifier_gain"),
        (lambda: resolve("mnist-100", {"dataset": "fashion_mnist"}), "fashion-mnist"),
        (lambda: resolve("mnist-100", {"nudging": "centered"}), "centred"),
        (lambda: law_from({"law": "shokley"}), "shockley"),
        (lambda: law_from({"law": "shockley", "emision": 1.0}), "emission"),
        (lambda: law_from({"law": "clamp", "arrangement": "anti-parallel"}), "antiparallel"),
        (lambda: buffer_from({"law": "hard_sigmoid"}), "hard-sigmoid"),
        (lambda: Specification.of({"name": "x", "wires": {"resistence": 1.0}}), "resistance"),
        (lambda: ResistiveNetwork.dense([2, 2], outputs="pair"), "pairs"),  # type: ignore[arg-type]
    ],
)
def test_names_that_are_misspelt_are_suggested(call: Any, meant: str) -> None:
    with pytest.raises(UserError, match=f"did you mean {meant}"):
        call()


def test_keys_of_a_file_are_suggested(tmp_path: Path) -> None:
    text = "layers = [2, 3, 2]\nbeta = 1e-8\nconductance_rates = 1e-14\nbias_rates = 0.0\namplifer_gain = 3\n"
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UserError, match="did you mean amplifier_gain"):
        resolve(str(tmp_path / "own.toml"), {})


class OwnLaw(NgspiceDiode):
    """A law from outside the package."""

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        return "own_law", {}


def test_a_law_of_ones_own_is_told_what_it_lacks(tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([2, 3, 2], seed=0, diode=OwnLaw())
    with pytest.raises(UserError, match="OwnLaw"):
        network.save(tmp_path / "net.npz")
    with pytest.raises(UserError, match=r"own_law\.lib"):
        static_netlist(compile_network(network, np.zeros((1, 2))))
    with pytest.raises(UserError, match="cocontent"):
        ResistiveNetwork.dense([2, 2, 2], diode=SimpleNamespace(rail=0.0))  # type: ignore[arg-type]


def test_dotted_settings_of_a_table_that_is_left_out_change_its_usual_values(tmp_path: Path) -> None:
    """A preset that names no diode has ngspice's; its rail can be varied like any other setting."""
    preset = tmp_path / "plain.toml"
    preset.write_text("layers = [16, 8, 3]\nbeta = 1e-7\nconductance_rates = [1e-15, 1e-15]\nbias_rates = 1e-15\n")
    assert resolve(str(preset), {"diode.rail": "150mV"}).diode == {"law": "ngspice", "rail": 0.15}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="did you mean rail"):
        resolve(str(preset), {"diode.rial": 0.1})
