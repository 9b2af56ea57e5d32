"""Configurations and data that cannot be used for training are refused in one line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eqprop_analog.data import formats

Refused = Callable[..., str]


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
    def test_one_wrong_setting_is_named(self, refused_training, preset, text, words):
        settings = {line.partition(" =")[0]: line for line in preset.read_text().splitlines()}
        settings |= {line.partition(" =")[0]: line for line in text.splitlines()}
        preset.write_text("\n".join(settings.values()))
        assert re.search(words, refused_training())

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "layers: give either layers or connections"),
            (b"layers = [16, 8", "not a readable TOML file"),
            (b"= 3", "not a readable TOML file"),
            (b"beta = 1\nbeta = 2", "not a readable TOML file"),
            (b"\xff\xfe\0", "not a readable TOML file"),
            (bytes(10), "not a readable TOML file"),
            (b"[layers]\nbeta = 1", "layers: Input should be a valid list"),
        ],
    )
    def test_no_toml_of_a_run(self, refused_training, preset, content, words):
        preset.write_bytes(content)
        assert re.search(words, refused_training())

    def test_unknown_preset_lists_the_known(self, refused):
        assert re.search(
            'preset "mnist-1000" is unknown; there are .*mnist-100', refused("train", "--preset", "mnist-1000")
        )

    def test_missing_preset_file(self, refused):
        assert re.search(r"mine\.toml: no such", refused("train", "--preset", "mine.toml"))

    def test_folder_as_preset(self, refused, tmp_path):
        (tmp_path / "mine.toml").mkdir()
        assert re.search(r"mine\.toml: ", refused("train", "--preset", "mine.toml"))

    @pytest.mark.parametrize("layers", [(15, 8, 3), (16, 8, 2), (16, 8, 4)], ids=str)
    def test_layers_that_do_not_fit_the_data(self, refused_training, layers):
        assert re.search("layers: mnist needs 16 inputs and 3 outputs", refused_training("--layers", *layers))

    def test_rates_with_which_training_diverges(self, run, preset, dataset, monkeypatch):
        """Settings that are not refused as absurd before training."""
        preset.write_text(preset.read_text().replace("bias_rates = 1e-15", "bias_rates = 1e300"))
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run")
        assert result.code == 2
        assert re.search("bias_rates: 1e.300.*expected", result.err)
        monkeypatch.setattr("eqprop_analog.networks.resistive.config.ABSURD_BIAS_RATE", float("inf"))
        result = run("train", "--preset", preset, "--data-dir", dataset, "--output", "run")
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
        assert re.search("diverged.*smaller rates", result.err)


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
        assert re.search(name, train_on_mine())

    def test_missing_file(self, train_on_mine, mine):
        (mine / formats.TEST_IMAGES).unlink()
        assert re.search(f"expected {formats.TEST_IMAGES}", train_on_mine())

    def test_missing_folder(self, train_on_mine, mine):
        shutil.rmtree(mine)
        assert re.search("mine: ", train_on_mine())
