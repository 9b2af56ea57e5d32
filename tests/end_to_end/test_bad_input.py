"""Bad command lines are refused in one line with exit code 2, and leave every file unchanged."""

import json
import re

import pytest

from eqprop_analog import ResistiveNetwork


class TestShapesAndNumbers:
    COMMANDS = (("simulate",), ("netlist", "--output", "a.cir"), ("train", "--output", "run"))

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
    @pytest.mark.parametrize(
        "layers",
        [
            pytest.param((784, 0, 10), id="a-layer-of-size-0"),
            pytest.param((784, -3, 10), id="a-negative-layer"),
            pytest.param((784,), id="one-layer"),
            pytest.param(("784", "x", "10"), id="no-number"),
            pytest.param((784, 1.5, 10), id="half-a-node"),
            pytest.param((784, 10**12, 10**6), id="beyond-memory"),
            pytest.param((10**10, 10**10, 10), id="beyond-the-address-space"),
        ],
    )
    def test_layers(self, refused, command, layers):
        assert re.search("layers", refused(*command, "--layers", *layers))

    def test_no_network(self, refused):
        assert re.search("--layers.*--network", refused("simulate"))

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--seed", -1),
            ("--workers", 0),
            ("--beta", 0),
            ("--beta", "nan"),
            ("--beta", "inf"),
            ("--beta", "soft"),
            ("--beta", -1),
            ("--amplifier-gain", 0),
            ("--amplifier-gain", "nan"),
            ("--input-gain", -2),
            ("--time-limit", 0),
            ("--time-limit", 1e-3),
        ],
    )
    def test_simulate(self, refused, option, value):
        assert re.search(option.strip("-").replace("-", "."), refused("simulate", "--layers", 4, 6, 2, option, value))

    @pytest.mark.parametrize("gain", [1e200, 1e300])
    def test_gain_whose_square_is_beyond_floating_point(self, refused, gain):
        assert re.search("amplifier_gain: must be", refused("simulate", "--layers", 4, 6, 2, "--amplifier-gain", gain))

    @pytest.mark.parametrize("value", [0, "nan", "inf", -1])
    def test_beta_of_a_netlist(self, refused, value):
        assert re.search(
            "beta", refused("netlist", "--layers", 4, 6, 2, "--phase", "nudged", "--beta", value, "--output", "a.cir")
        )

    def test_beta_that_makes_the_circuit_indefinite_names_the_net_and_the_bound(self, refused):
        message = refused("netlist", "--layers", 2, 3, 1, "--phase", "nudged", "--beta=-1e-5", "--output", "a.cir")
        assert re.search(r"indefinite at net o_0.*use \|beta\| below", message)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--seed", -1),
            ("--workers", 0),
            ("--threads", 0),
            ("--epochs", 0),
            ("--epochs", "many"),
            ("--limit", 0),
            ("--batch-size", 0),
            ("--dataset", "cifar"),
            ("--solver", "spectre"),
        ],
    )
    def test_train(self, refused_training, option, value):
        assert re.search(option.strip("-").replace("-", "."), refused_training(option, value))

    def test_xor(self, refused):
        assert re.search("seed", refused("xor", "--seed", -1))

    @pytest.mark.parametrize(
        "command", [("netlist", "--output", "a.cir", "--network"), ("energy", "--network"), ("verify",)]
    )
    def test_seed_of_examples_for_a_network_that_is_given(self, refused, tmp_path, command):
        ResistiveNetwork.dense([2, 3, 1]).save(tmp_path / "net.npz")
        assert re.search("seed must be an integer of at least 0, got -1", refused(*command, "net.npz", "--seed", -1))

    @pytest.mark.parametrize("arguments", [("sing",), ("simulate", "--loud"), ("netlist", "--layers", 4, 6, 2)])
    def test_command_lines(self, refused, arguments):
        assert re.search("--help", refused(*arguments))


class TestOutputs:
    """There is a file instead of a folder, or a folder instead of a file."""

    @pytest.fixture
    def wall(self, tmp_path) -> str:
        (tmp_path / "wall").write_text("a file")
        return "wall"

    @pytest.mark.parametrize("below", ["a.cir", "b/a.cir"])
    def test_netlist_below_a_file(self, refused, wall, below):
        assert re.search("wall", refused("netlist", "--layers", 2, 3, 1, "--output", f"{wall}/{below}"))

    def test_netlist_over_a_folder(self, refused, tmp_path):
        (tmp_path / "taken").mkdir()
        assert re.search("taken", refused("netlist", "--layers", 2, 3, 1, "--output", "taken"))

    def test_json_of_simulate(self, refused, wall):
        assert re.search("wall", refused("simulate", "--layers", 2, 3, 1, "--json", f"{wall}/out.json"))

    @pytest.mark.parametrize("below", ["", "/run"])
    def test_run_folder(self, refused_training, wall, below):
        assert re.search("wall", refused_training("--output", f"{wall}{below}"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_json_of_train_is_refused_before_the_training(self, refused_training, wall):
        assert re.search("wall", refused_training("--json", f"{wall}/out.json"))

    def test_xor(self, refused, wall):
        assert re.search("wall", refused("xor", "--output", wall))


class TestMissingNgspice:
    WORDS = "/nonexistent/libngspice: no such library.*apt-get install"

    @pytest.mark.usefixtures("without_ngspice")
    def test_simulate(self, refused):
        assert re.search(self.WORDS, refused("simulate", "--layers", 2, 3, 1))

    @pytest.mark.usefixtures("without_ngspice")
    def test_training_in_ngspice(self, refused_training):
        assert re.search(self.WORDS, refused_training("--solver", "ngspice"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_xor(self, refused):
        assert re.search(self.WORDS, refused("xor"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_demo(self, refused):
        assert re.search(self.WORDS, refused("demo"))

    def test_library_that_is_none(self, refused, tmp_path, monkeypatch):
        (tmp_path / "libngspice.so").write_text("no library")
        monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
        assert re.search(r"libngspice\.so", refused("simulate", "--layers", 2, 3, 1))

    @pytest.mark.usefixtures("without_ngspice")
    def test_training_with_the_surrogate_says_that_nothing_is_verified(self, run, preset, dataset):
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run", "--epochs", 1)
        assert result.code == 0
        assert "not verified in ngspice: " in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "--layers", 2, 2, "--beta", "100nA"), "siemens.*amperes"),
        (("simulate", "--layers", 2, 2, "--time-limit", "1e300"), "at most"),
        (("transient", "--layers", 2, 2, "--capacitance", "2pV"), "farads"),
        (("simulate", "--layers", 2, 2, "--amplifer-gain", 3), "did you mean --amplifier-gain"),
        (("simulte",), "did you mean simulate"),
        (("train", "--preset", "mnist100"), "did you mean mnist-100"),
        (("simulate", "--layers", 2, 2, "--inputs", "1,0,1"), r"expected shape \(samples, 2\)"),
        (("simulate", "--layers", 2, 2, "--inputs", "1,0;1"), "rectangular"),
        (("simulate", "--model", "hopfield", "--layers", 2, 2, "--beta", "1nS"), "dimensionless"),
    ],
)
def test_units_and_names_on_the_command_line(refused, arguments, words):
    assert re.search(words, refused(*arguments))


def test_quantities_and_numbers_on_the_command_line_are_what_they_say(run):
    given = ["simulate", "--layers", 2, 3, 2, "--inputs", "-1,0.5;0,1", "--json", "-", "-q"]
    one, other = (json.loads(run(*given, "--beta", beta).out) for beta in ("-10nS", "-1e-8"))
    assert one["phases"] == other["phases"]
    assert len(one["phases"]["free"]["status"]) == 2
