"""Bad input is refused in one line with exit code 2, and leaves every file as it was."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.data import formats

Refused = Callable[..., str]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder`` with its content, every folder with None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(run, tmp_path) -> Refused:
    """Run a command that must be refused; its one line on standard error."""

    def refused(*arguments: object) -> str:
        before = tree(tmp_path)
        result = run(*arguments)
        assert result.code == 2, result
        assert len(result.err.splitlines()) == 1, result.err
        assert "error: " in result.err
        assert "Traceback" not in result.out + result.err
        assert tree(tmp_path) == before
        return result.err

    return refused


@pytest.fixture
def train(refused, preset, dataset) -> Refused:
    """``refused`` of a training on the synthetic data set into ``run``."""
    return lambda *more: refused("train", "--preset", preset, "--data-dir", dataset, "--output", "run", *more)


def npy(array: np.ndarray, *, pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickle)
    return file.getvalue()


def npy_of(header: str) -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)


HEADER = "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}\n"
NO_NUMBERS = r"a\.npy: not a \.npy file of numbers"


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class TestArrays:
    """--inputs (4 columns) and --targets (2 columns) of ``simulate`` and ``netlist``."""

    FILES = (
        pytest.param(
            lambda n: npy(np.zeros((1, n + 1))), r"expected shape \(samples, \d\).*, got \(1, \d\)", id="columns"
        ),
        pytest.param(lambda n: npy(np.zeros((1, 1, n))), r"expected shape .*, got \(1, 1, \d\)", id="dimensions"),
        pytest.param(lambda n: npy(np.zeros(n - 1)), "expected shape", id="vector"),
        pytest.param(lambda n: npy(np.array(1.0)), "expected shape", id="scalar"),
        pytest.param(lambda n: npy(np.zeros((0, n))), "sample", id="no-samples"),
        pytest.param(lambda n: npy(np.full((1, n), np.nan)), "NaN or infinite", id="nan"),
        pytest.param(lambda n: npy(np.full((1, n), -np.inf)), "NaN or infinite", id="infinite"),
        pytest.param(lambda n: npy(np.full((1, n), 1j)), NO_NUMBERS, id="complex"),
        pytest.param(lambda n: npy(np.full((1, n), "1")), NO_NUMBERS, id="text"),
        pytest.param(lambda n: npy(np.zeros((1, n), "M8[s]")), NO_NUMBERS, id="dates"),
        pytest.param(lambda n: npy(np.zeros(n, [("volts", float)])), NO_NUMBERS, id="records"),
        pytest.param(lambda n: npy(np.array([[None] * n]), pickle=True), NO_NUMBERS, id="pickle"),
        pytest.param(lambda n: npz(x=np.zeros((1, n))), NO_NUMBERS, id="npz"),
        pytest.param(lambda n: b"", NO_NUMBERS, id="empty"),
        pytest.param(lambda n: b"1 2 3 4\n", NO_NUMBERS, id="plain"),
        pytest.param(lambda n: npy(np.zeros((1, n)))[:-1], NO_NUMBERS, id="truncated"),
        pytest.param(lambda n: npy(np.zeros((1, n)))[:40], NO_NUMBERS, id="truncated-header"),
        pytest.param(lambda n: npy_of("{'descr': (((((("), NO_NUMBERS, id="broken-header"),
        pytest.param(lambda n: npy_of(HEADER.format("10**13", n)), NO_NUMBERS, id="header-with-a-formula"),
        pytest.param(lambda n: npy_of(HEADER.format(10**13, n)), NO_NUMBERS, id="beyond-memory"),
    )

    @pytest.mark.parametrize(("option", "columns"), [("--inputs", 4), ("--targets", 2)])
    @pytest.mark.parametrize(
        "command", [("simulate",), ("netlist", "--phase", "nudged", "--output", "a.cir")], ids=["simulate", "netlist"]
    )
    @pytest.mark.parametrize(("content", "words"), FILES)
    def test_file_without_the_right_numbers(self, refused, tmp_path, command, option, columns, content, words):
        (tmp_path / "a.npy").write_bytes(content(columns))
        message = refused(*command, "--layers", 4, 6, 2, option, "a.npy")
        assert_words(words, message)

    def test_missing_file(self, refused):
        assert_words("--inputs no.npy: no such file", refused("simulate", "--layers", 4, 6, 2, "--inputs", "no.npy"))

    def test_folder(self, refused, tmp_path):
        (tmp_path / "a.npy").mkdir()
        assert_words("--targets a.npy", refused("simulate", "--layers", 4, 6, 2, "--targets", "a.npy"))

    def test_vector_where_a_column_is_meant_is_reported_with_its_own_shape(self, refused, tmp_path):
        (tmp_path / "a.npy").write_bytes(npy(np.zeros(5)))
        assert_words(r"got \(5,\)", refused("simulate", "--layers", 4, 6, 1, "--targets", "a.npy"))

    def test_another_number_of_targets_than_inputs(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.zeros((3, 4))))
        (tmp_path / "y.npy").write_bytes(npy(np.zeros((2, 2))))
        message = refused("simulate", "--layers", 4, 6, 2, "--inputs", "x.npy", "--targets", "y.npy")
        assert_words("--targets: expected 3 samples as in the inputs, got 2", message)

    def test_several_samples_in_one_netlist(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.zeros((3, 4))))
        message = refused("netlist", "--layers", 4, 6, 2, "--inputs", "x.npy", "--output", "a.cir")
        assert_words("one sample, got 3", message)

    def test_inputs_beyond_floating_point(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.full((1, 4), 1e308)))
        message = refused(
            "netlist", "--layers", 4, 6, 2, "--inputs", "x.npy", "--input-gain", 1e10, "--output", "a.cir"
        )
        assert_words("net xp_0: source voltage is not finite", message)


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
        assert_words("layers", refused(*command, "--layers", *layers))

    def test_no_network(self, refused):
        assert_words("--layers.*--network", refused("simulate"))

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
        assert_words(option.strip("-").replace("-", "."), refused("simulate", "--layers", 4, 6, 2, option, value))

    @pytest.mark.parametrize("gain", [1e200, 1e300])
    def test_gain_whose_square_is_beyond_floating_point(self, refused, gain):
        assert_words(
            "amplifier_gain: must be positive", refused("simulate", "--layers", 4, 6, 2, "--amplifier-gain", gain)
        )

    @pytest.mark.parametrize("value", [0, "nan", "inf", -1])
    def test_beta_of_a_netlist(self, refused, value):
        assert_words(
            "beta", refused("netlist", "--layers", 4, 6, 2, "--phase", "nudged", "--beta", value, "--output", "a.cir")
        )

    def test_beta_that_makes_the_circuit_indefinite_names_the_net_and_the_bound(self, refused):
        message = refused("netlist", "--layers", 2, 3, 1, "--phase", "nudged", "--beta=-1e-5", "--output", "a.cir")
        assert_words(r"indefinite at net o_0.*use \|beta\| below", message)

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
    def test_train(self, train, option, value):
        assert_words(option.strip("-").replace("-", "."), train(option, value))

    def test_xor(self, refused):
        assert_words("seed", refused("xor", "--seed", -1))

    @pytest.mark.parametrize("arguments", [(), ("sing",), ("simulate", "--loud"), ("netlist", "--layers", 4, 6, 2)])
    def test_command_lines(self, refused, arguments):
        assert_words("--help", refused(*arguments))


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
        assert_words(r"net\.npz: no such network file", netlist())

    def test_folder(self, netlist, tmp_path):
        (tmp_path / "net.npz").mkdir()
        assert_words(r"net\.npz: ", netlist())

    @pytest.mark.usefixtures("file")
    def test_other_layers(self, netlist):
        assert_words(r"--layers \[4, 5, 2\] disagrees with net\.npz", netlist("--layers", 4, 5, 2))

    @pytest.mark.usefixtures("file")
    def test_gain_beside_a_network(self, netlist):
        assert_words(r"net\.npz has its own; leave out --input-gain", netlist("--input-gain", 3))

    @pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
    def test_truncated(self, netlist, file, kept):
        content = file.read_bytes()
        file.write_bytes(content[: int(kept * len(content))])
        assert_words(r"net\.npz: not a network file, or a damaged one", netlist())

    @pytest.mark.parametrize("flag", [0x01, 0x20], ids=["encrypted", "patched"])
    def test_zip_flags_that_python_cannot_read(self, netlist, file, flag):
        content = bytearray(file.read_bytes())
        for entry in range(len(content)):
            if content[entry : entry + 4] == b"PK\1\2":
                content[entry + 8] |= flag
        file.write_bytes(content)
        assert_words("not a network file, or a damaged one", netlist())

    @pytest.mark.parametrize(("offset", "value"), [(10, 99), (6, 200)], ids=["compression", "zip-version"])
    def test_zip_methods_that_python_cannot_read(self, netlist, file, offset, value):
        content = bytearray(file.read_bytes())
        content[content.index(b"PK\1\2") + offset] = value
        file.write_bytes(content)
        assert_words("not a network file, or a damaged one", netlist())

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
            pytest.param({"amplifier_gain": [0]}, "amplifier_gain: must be positive", id="gain-0"),
            pytest.param({"input_gain": "10"}, "", id="input-gain"),
            pytest.param(
                {"conductance_window": [1, 0]}, "conductance_window: expected 0 <= G_min < G_max", id="window"
            ),
        ],
    )
    def test_contents(self, netlist, file, changes, words):
        self.rewrite(file, **changes)
        assert_words(words, netlist())


class TestConfigurations:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("colour = 1", "colour"),
            ("beta = 0", "beta"),
            ("beta = -1e-7", "beta"),
            ("beta = nan", "beta"),
            ('beta = "small"', "beta"),
            ("beta = 1.0", "beta"),
            ("layers = 16", "layers"),
            ('layers = "16-8-3"', "layers"),
            ("layers = [16, 8.5, 3]", "layers"),
            ("layers = [16, 8, 8, 3]", "conductance_rates: 2 values for 3 crossbars"),
            ("conductance_rates = [1e-15]", "conductance_rates: 1 values for 2 crossbars"),
            ("conductance_rates = [1e-15, -1e-15]", "conductance_rates"),
            ("bias_rates = [1e-15, 1e-15, 1e-15]", "bias_rates: 3 values for 2 crossbars"),
            ('bias_rates = "fast"', "bias_rates"),
            ("amplifier_gain = [2.0, 2.0]", "amplifier_gain: 2 values for 1 hidden layers"),
            ("amplifier_gain = 0", "amplifier_gain"),
            ("input_gain = inf", "input_gain"),
            ("decay = 0", "decay"),
            ("conductance_window = [1e-4, 1e-6]", "conductance_window"),
            ("conductance_window = [0, 1e-6, 1e-4]", "conductance_window"),
            ('nudging = "hard"', "nudging"),
            ('cost = "cross-entropy"', 'kind="current"'),
            ('precision = "float16"', "precision"),
            ('solver = "ngspice"\nprecision = "float32"', "precision"),
            ("sweeps = 0", "sweeps"),
            ("validation = 7", "validation"),
            ('diode = "ngspice"', "diode"),
            ("diode = {}", "law"),
            (
                'diode = { law = "laser" }',
                'law "laser" is unknown; there are clamp, piecewise-linear, shockley, ngspice',
            ),
            ('diode = { law = "ngspice", colour = 1 }', "colour"),
            ('diode = { law = "ngspice", emission = "x" }', "emission|number|float"),
            ('diode = { law = "ngspice", emission = 0 }', "emission"),
            ('diode = { law = "ngspice", celsius = -300 }', "celsius"),
            ('diode = { law = "ngspice", saturation_current = -1 }', "saturation_current"),
            ('diode = { law = "ngspice", rail = nan }', "rail"),
            ('diode = { law = "ngspice", gmin = -1 }', "gmin"),
        ],
    )
    def test_one_wrong_setting_is_named(self, train, preset, text, words):
        settings = {line.partition(" =")[0]: line for line in preset.read_text().splitlines()}
        settings |= {line.partition(" =")[0]: line for line in text.splitlines()}
        preset.write_text("\n".join(settings.values()))
        assert_words(words, train())

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "layers: Field required"),
            (b"layers = [16, 8", "not a readable TOML file"),
            (b"= 3", "not a readable TOML file"),
            (b"beta = 1\nbeta = 2", "not a readable TOML file"),
            (b"\xff\xfe\0", "not a readable TOML file"),
            (bytes(10), "not a readable TOML file"),
            (b"[layers]\nbeta = 1", "layers: Input should be a valid list"),
        ],
    )
    def test_no_toml_of_a_run(self, train, preset, content, words):
        preset.write_bytes(content)
        assert_words(words, train())

    def test_unknown_preset_lists_the_known(self, refused):
        assert_words(
            'preset "mnist-1000" is unknown; there are .*mnist-100', refused("train", "--preset", "mnist-1000")
        )

    def test_missing_preset_file(self, refused):
        assert_words(r"mine\.toml: no such", refused("train", "--preset", "mine.toml"))

    def test_folder_as_preset(self, refused, tmp_path):
        (tmp_path / "mine.toml").mkdir()
        assert_words(r"mine\.toml: ", refused("train", "--preset", "mine.toml"))

    @pytest.mark.parametrize("layers", [(15, 8, 3), (16, 8, 2), (16, 8, 4)], ids=str)
    def test_layers_that_do_not_fit_the_data(self, train, layers):
        assert_words("layers: mnist needs 16 inputs and 3 outputs", train("--layers", *layers))

    def test_rates_with_which_training_diverges(self, run, preset, dataset):
        preset.write_text(preset.read_text().replace("bias_rates = 1e-15", "bias_rates = 1e300"))
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run")
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
        assert_words("diverged.*smaller rates", result.err)


class TestData:
    @pytest.fixture
    def mine(self, dataset, tmp_path) -> Path:
        return Path(shutil.copytree(dataset, tmp_path / "mine"))

    @pytest.fixture
    def train_on_mine(self, refused, preset, mine) -> Refused:
        return lambda: refused("train", "--preset", preset, "--data-dir", mine, "--output", "run")

    @pytest.mark.parametrize("name", [formats.TRAIN_IMAGES, formats.TEST_LABELS])
    @pytest.mark.parametrize("damage", [lambda all_: all_[:-1], lambda all_: all_[:-1] + b"\xff", lambda all_: b""])
    def test_damaged_file(self, train_on_mine, mine, name, damage):
        (mine / name).write_bytes(damage((mine / name).read_bytes()))
        assert_words(name, train_on_mine())

    def test_missing_file(self, train_on_mine, mine):
        (mine / formats.TEST_IMAGES).unlink()
        assert_words(f"expected {formats.TEST_IMAGES}", train_on_mine())

    def test_missing_folder(self, train_on_mine, mine):
        shutil.rmtree(mine)
        assert_words("mine: ", train_on_mine())


class TestOutputs:
    """A file stands where a folder is wanted, or a folder where a file is."""

    @pytest.fixture
    def wall(self, tmp_path) -> str:
        (tmp_path / "wall").write_text("a file")
        return "wall"

    @pytest.mark.parametrize("below", ["a.cir", "b/a.cir"])
    def test_netlist_below_a_file(self, refused, wall, below):
        assert_words("wall", refused("netlist", "--layers", 2, 3, 1, "--output", f"{wall}/{below}"))

    def test_netlist_over_a_folder(self, refused, tmp_path):
        (tmp_path / "taken").mkdir()
        assert_words("taken", refused("netlist", "--layers", 2, 3, 1, "--output", "taken"))

    def test_json_of_simulate(self, refused, wall):
        assert_words("wall", refused("simulate", "--layers", 2, 3, 1, "--json", f"{wall}/out.json"))

    @pytest.mark.parametrize("below", ["", "/run"])
    def test_run_folder(self, train, wall, below):
        assert_words("wall", train("--output", f"{wall}{below}"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_json_of_train_is_refused_before_the_training(self, train, wall):
        assert_words("wall", train("--json", f"{wall}/out.json"))

    def test_xor(self, refused, wall):
        assert_words("wall", refused("xor", "--output", wall))


class TestResume:
    @pytest.fixture
    def begun(self, finished_run, tmp_path) -> Path:
        """The run folder of a training of two epochs."""
        return Path(shutil.copytree(finished_run, tmp_path / "run"))

    def test_without_a_checkpoint(self, train):
        assert_words("run: no checkpoint to resume from; start without --resume", train("--resume"))

    @pytest.mark.usefixtures("begun")
    def test_folder_that_holds_another_run(self, train):
        assert_words("the run was started with other settings .seed = 0 then and 1 now.; use", train("--seed", 1))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--seed", 1), "seed = 0 then and 1 now"),
            (("--batch-size", 6), "batch_size = 5 then and 6 now"),
            (("--limit", 10), "limit = None then and 10 now"),
            (("--layers", 16, 9, 3), "layers = "),
            (("--solver", "ngspice"), "solver = 'surrogate' then and 'ngspice' now"),
            (("--validation",), "validation = False then and True now"),
        ],
    )
    @pytest.mark.usefixtures("begun")
    def test_other_settings(self, train, arguments, words):
        message = train("--resume", *arguments)
        assert_words(words, message)
        assert message.count(" then and ") == 1

    @pytest.mark.usefixtures("begun")
    def test_fewer_epochs_than_are_done(self, train):
        assert_words("epochs", train("--resume", "--epochs", 1))

    @pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
    def test_truncated_checkpoint(self, train, begun, kept):
        path = begun / "checkpoint.npz"
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        assert_words(r"checkpoint\.npz: not a checkpoint, or a damaged one", train("--resume"))

    @pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7])
    def test_rotten_checkpoint(self, train, begun, place):
        path = begun / "checkpoint.npz"
        content = bytearray(path.read_bytes())
        start = int(place * len(content))
        content[start : start + 64] = bytes(255 - byte for byte in content[start : start + 64])
        path.write_bytes(content)
        assert_words(r"checkpoint\.npz: not a checkpoint, or a damaged one", train("--resume"))

    def test_checkpoint_in_a_zip_that_python_cannot_read(self, train, begun):
        path = begun / "checkpoint.npz"
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 10] = 99
        path.write_bytes(content)
        assert_words(r"checkpoint\.npz: not a checkpoint, or a damaged one", train("--resume"))

    def test_network_in_place_of_the_checkpoint(self, train, begun):
        shutil.copy(begun / "network.npz", begun / "checkpoint.npz")
        assert_words(r"checkpoint\.npz: not a checkpoint", train("--resume"))


class TestMissingNgspice:
    WORDS = "/nonexistent: no such library.*apt-get install"

    @pytest.mark.usefixtures("without_ngspice")
    def test_simulate(self, refused):
        assert_words(self.WORDS, refused("simulate", "--layers", 2, 3, 1))

    @pytest.mark.usefixtures("without_ngspice")
    def test_training_in_ngspice(self, train):
        assert_words(self.WORDS, train("--solver", "ngspice"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_xor(self, refused):
        assert_words(self.WORDS, refused("xor"))

    @pytest.mark.usefixtures("without_ngspice")
    def test_demo(self, refused):
        assert_words(self.WORDS, refused("demo"))

    def test_library_that_is_none(self, refused, tmp_path, monkeypatch):
        (tmp_path / "libngspice.so").write_text("no library")
        monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
        assert_words(r"libngspice\.so", refused("simulate", "--layers", 2, 3, 1))

    @pytest.mark.usefixtures("without_ngspice")
    def test_training_with_the_surrogate_says_that_nothing_is_verified(self, run, preset, dataset):
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run", "--epochs", 1)
        assert result.code == 0
        assert "not verified in ngspice: " in result.out


def assert_words(words: str, message: str) -> None:
    """``message`` matches the pattern; pytest shows both where it does not."""
    assert re.search(words, message), f"expected /{words}/ in: {message}"
