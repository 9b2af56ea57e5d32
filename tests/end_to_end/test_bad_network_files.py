"""Network files that are missing, damaged or inconsistent are refused in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import ResistiveNetwork, UserError

Refused = Callable[..., str]


class TestNetworkFiles:
    @pytest.fixture
    def file(self, tmp_path) -> Path:
        path = tmp_path / "net.npz"
        ResistiveNetwork.dense([4, 6, 2], seed=3).save(path)
        return path

    @pytest.fixture
    def netlist(self, refused) -> Refused:
        return lambda *more: refused("netlist", "--network", "net.npz", "--output", "a.cir", *more)

    @staticmethod
    def rewrite(path: Path, **changes: Any) -> None:
        """Replace arrays (None removes one), or entries of the description, by name."""
        with np.load(path) as file:
            arrays = dict(file)
        description = json.loads(str(arrays["description"]))
        for name, value in changes.items():
            if name in description:
                description[name] = value
            elif value is None:
                del arrays[name]
            else:
                arrays[name] = value
        if "description" not in changes:
            arrays["description"] = np.array(json.dumps(description))
        np.savez(path, **arrays)

    def test_sound_file_is_taken(self, run, file):
        self.rewrite(file)
        assert run("netlist", "--network", "net.npz", "--output", "a.cir").code == 0

    def test_missing(self, netlist):
        assert re.search(r"net\.npz: no such network file", netlist())

    def test_folder(self, netlist, tmp_path):
        (tmp_path / "net.npz").mkdir()
        assert re.search(r"net\.npz: .*folder; name a file in it, such as net\.npz/network\.npz", netlist())

    @pytest.mark.usefixtures("file")
    def test_other_layers(self, netlist):
        assert re.search(r"--layers \[4, 5, 2\] disagrees with net\.npz", netlist("--layers", 4, 5, 2))

    @pytest.mark.usefixtures("file")
    def test_gain_beside_a_network(self, netlist):
        assert re.search(r"net\.npz .*; leave out --input-gain", netlist("--input-gain", 3))

    @pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
    def test_truncated(self, netlist, file, kept):
        content = file.read_bytes()
        file.write_bytes(content[: int(kept * len(content))])
        assert re.search(r"net\.npz: not a network file", netlist())

    @pytest.mark.parametrize("flag", [0x01, 0x20], ids=["encrypted", "patched"])
    def test_zip_flags_that_python_cannot_read(self, netlist, file, flag):
        content = bytearray(file.read_bytes())
        for entry in range(len(content)):
            if content[entry : entry + 4] == b"PK\1\2":
                content[entry + 8] |= flag
        file.write_bytes(content)
        assert re.search("not a network file", netlist())

    @pytest.mark.parametrize(("offset", "value"), [(10, 99), (6, 200)], ids=["compression", "zip-version"])
    def test_zip_methods_that_python_cannot_read(self, netlist, file, offset, value):
        content = bytearray(file.read_bytes())
        content[content.index(b"PK\1\2") + offset] = value
        file.write_bytes(content)
        assert re.search("not a network file", netlist())

    @given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
    def test_any_changed_byte_loads_or_is_refused(self, tmp_path_factory, place, value):
        path = tmp_path_factory.getbasetemp() / "changed.npz"
        ResistiveNetwork.dense([2, 3, 1]).save(path)
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] = value
        path.write_bytes(content)
        try:
            network = ResistiveNetwork.load(path)
        except UserError as error:
            message = str(error)
        else:
            message = ""
            network.validate()
        assert "\n" not in message

    @given(st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x93NUMPY", b"\x93NUMPY\1\0"]), st.binary(max_size=200))
    def test_any_bytes_are_refused(self, tmp_path_factory, magic, tail):
        path = tmp_path_factory.getbasetemp() / "random.npz"
        path.write_bytes(magic + tail)
        with pytest.raises(UserError, match=r"random\.npz"):
            ResistiveNetwork.load(path)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"conductance_2": np.full((6, 2), -1e-9)}, "net o_0: conductance is negative", id="negative"),
            pytest.param({"conductance_1": np.full((8, 6), np.nan)}, "conductance is not finite", id="nan"),
            pytest.param({"conductance_1": np.full((8, 6), np.inf)}, "conductance is not finite", id="infinite"),
            pytest.param({"conductance_1": np.zeros((8, 6))}, "net h1_0", id="nothing-drives-a-node"),
            pytest.param({"conductance_1": np.ones((7, 6))}, "even number of rows", id="odd-rows"),
            pytest.param({"conductance_2": np.ones((5, 2))}, "crossbar 2: expected 6 rows, got 5", id="rows"),
            pytest.param({"conductance_1": np.ones(8)}, "", id="vector"),
            pytest.param({"conductance_1": np.full((8, 6), 1j)}, "", id="complex"),
            pytest.param({"conductance_1": np.full((8, 6), "1")}, "", id="text"),
            pytest.param({"conductance_1": np.array([[None] * 6] * 8)}, "damaged", id="pickle"),
            pytest.param({"conductance_1": None}, "damaged", id="no-crossbar-1"),
            pytest.param({"bias_2": None}, "damaged", id="no-bias"),
            pytest.param({"bias_1": np.zeros(5)}, "biases of layer 1", id="bias-shape"),
            pytest.param({"bias_1": np.full(6, np.nan)}, "bias current is not finite", id="bias-nan"),
            pytest.param(
                {"format": "eqprop-analog resistive network 99"}, 'expected format ".* 1", got ".* 99"', id="version"
            ),
            pytest.param({"description": None}, "damaged", id="no-description"),
            pytest.param({"description": np.array("{")}, "damaged", id="no-json"),
            pytest.param({"description": np.array("[1]")}, "damaged", id="another-json"),
            pytest.param({"description": np.array("[" * 10**5)}, "damaged", id="deep-json"),
            pytest.param({"diode": {"law": "laser"}}, "", id="unknown-law"),
            pytest.param({"diode": {"law": "ngspice", "colour": 1}}, "", id="unknown-parameter"),
            pytest.param({"diode": {"law": "ngspice", "emission": "x"}}, "emission", id="law-text"),
            pytest.param({"diode": {"law": "ngspice", "emission": 0}}, "emission", id="emission"),
            pytest.param({"diode": {"law": "ngspice", "celsius": -300}}, "celsius", id="below-absolute-zero"),
            pytest.param(
                {"diode": {"law": "ngspice", "saturation_current": -1}}, "saturation_current", id="saturation"
            ),
            pytest.param({"diode": {"law": "ngspice", "rail": float("nan")}}, "rail", id="rail"),
            pytest.param({"amplifier_gain": [2, 2]}, "amplifier_gain: expected 1 values, got 2", id="gains"),
            pytest.param({"amplifier_gain": [0]}, "amplifier_gain: must be", id="gain-0"),
            pytest.param({"input_gain": "10"}, "", id="input-gain"),
            pytest.param(
                {"conductance_window": [1, 0]}, "conductance_window: expected 0 <= G_min < G_max", id="window"
            ),
        ],
    )
    def test_contents(self, netlist, file, changes, words):
        self.rewrite(file, **changes)
        assert re.search(words, netlist())
