"""``generate_netlist.py`` writes the requested network."""

import re

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver

AGREE = 1e-9
"""Volts: how far ngspice and the surrogate may be apart."""


class TestGenerateNetlist:
    @pytest.mark.parametrize("phase", ["free", "nudged"])
    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_file_is_the_network_that_was_asked_for(self, run_script, in_ngspice, tmp_path, form, phase):
        network = ResistiveNetwork.dense([3, 5, 4, 2], seed=7, amplifier_gain=2.0, input_gain=5.0)
        inputs, targets, beta = np.array([[0.3, -0.8, 0.5]]), np.array([[0.2, -0.4]]), 3e-8
        np.save(tmp_path / "x.npy", inputs)
        np.save(tmp_path / "y.npy", targets[0])
        shape = ("--layers", 3, 5, 4, 2, "--seed", 7, "--amplifier-gain", 2, "--input-gain", 5)
        asked = ("--form", form, "--phase", phase, "--inputs", "x.npy", "--targets", "y.npy", "--beta", beta)
        result = run_script("generate_netlist.py", *shape, *asked, "--output", "a.cir")
        assert (result.code, result.err) == (0, "")

        text = (tmp_path / "a.cir").read_text()
        of_crossbar_1 = np.count_nonzero(network.conductances[0]) if form == "flat" else 0
        assert len(re.findall(r"^R1_\d+_\d+ ", text, re.MULTILINE)) == of_crossbar_1
        assert ("nudge" in text) == (phase == "nudged")
        nudge = Nudge(targets, beta) if phase == "nudged" else None
        expected = SurrogateSolver().solve(network, inputs, nudge).outputs[0]
        printed = in_ngspice(tmp_path / "a.cir")
        np.testing.assert_allclose([printed["o_0"], printed["o_1"]], expected, rtol=0, atol=AGREE)

    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_seed_decides_every_byte(self, run_script, tmp_path, form):
        for name, seed in (("a", 1), ("again", 1), ("other", 2)):
            arguments = ("--layers", 4, 6, 2, "--seed", seed, "--form", form, "--output", f"{name}.cir")
            assert run_script("generate_netlist.py", *arguments).code == 0
        a, again, other = ((tmp_path / f"{name}.cir").read_bytes() for name in ("a", "again", "other"))
        assert a == again != other

    def test_saved_network_gives_the_netlist_of_its_layers_and_seed(self, run_script, tmp_path):
        ResistiveNetwork.dense([4, 6, 2], seed=5).save(tmp_path / "net.npz")
        for name, source in (("a", ("--layers", 4, 6, 2)), ("b", ("--network", "net.npz"))):
            result = run_script(
                "generate_netlist.py", *source, "--seed", 5, "--phase", "nudged", "--output", f"{name}.cir"
            )
            assert result.code == 0, result.err
        assert (tmp_path / "a.cir").read_bytes() == (tmp_path / "b.cir").read_bytes()

    def test_layers_beside_a_network_that_agrees(self, run_script, tmp_path):
        ResistiveNetwork.dense([4, 6, 2], seed=5).save(tmp_path / "net.npz")
        both = ("--layers", 4, 6, 2, "--network", "net.npz")
        assert run_script("generate_netlist.py", *both, "--output", "below/a.cir").code == 0
        assert (tmp_path / "below/a.cir").exists()


@pytest.mark.parametrize(
    "given",
    [
        ("--picture", "net.svg"),
        ("--specification", "everything"),
        ("--phase", "nudged"),
        ("--form", "norton"),
        ("--beta", 1e-7),
    ],
)
def test_what_a_network_file_has_not_is_refused(run, tmp_path, given):
    result = run("netlist", "--layers", 2, 3, 1, "--output", "net.npz", *given)
    assert result.code == 2
    assert given[0] in result.err
    assert "FILE.cir" in result.err
    assert not list(tmp_path.iterdir())
