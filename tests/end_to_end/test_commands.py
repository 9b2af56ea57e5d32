"""The program as a user starts it, and its help."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import bench
import pytest

from eqprop_analog import cli
from eqprop_analog.cli.settings import names
from eqprop_analog.experiments.presets import DEFAULT_PRESETS, resolve

REPOSITORY = Path(__file__).parents[2]
AGREE = 1e-9
"""Volts: how far ngspice and the surrogate may be apart."""


parser = cache(cli.parser)


def options(command: str) -> list[Any]:
    return parser()._subparsers._group_actions[0].choices[command]._actions


class TestHelp:
    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_mentions_and_explains_every_option(self, run, command):
        result = run(command, "--help")
        assert (result.code, result.err) == (0, "")
        assert all(name in result.out for option in options(command) for name in option.option_strings)
        assert [option.option_strings for option in options(command) if not option.help] == []

    def test_of_the_program_names_every_command(self, run):
        result = run("--help")
        assert result.code == 0
        assert all(re.search(rf"^    {command}( |$)", result.out, re.MULTILINE) for command in cli.COMMANDS)

    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_examples_can_be_typed(self, run, command):
        typed = re.findall(r"^  eqprop-analog (.+?)(?: > \S+)?$", run(command, "--help").out, re.MULTILINE)
        assert typed or command == "demo"  # which is typed as it is
        for words in (shlex.split(line.partition(" > ")[0]) for line in typed):
            arguments = parser().parse_args(words)
            assert words[0] == command
            if command == "train":
                given = {name: getattr(arguments, name) for name in names()}
                if Path(given["dataset"] or "").suffix:  # the user's own, which is not here: see test_own_data_commands
                    continue
                resolve(
                    arguments.preset or DEFAULT_PRESETS[arguments.solver or "surrogate"],
                    {name: value for name, value in given.items() if value is not None},
                )

    def test_commands_of_the_readme_can_be_typed(self):
        names = {
            "generate_netlist": "netlist",
            "simulate_spice": "simulate",
            "train_mnist": "train",
            "train_xor": "xor",
        }
        typed = re.findall(r"^ +scripts/(\w+)\.py(.*)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
        assert typed
        for script, arguments in typed:
            assert (REPOSITORY / "scripts" / f"{script}.py").exists()
            words = shlex.split(arguments, comments=True)
            bench.parsed(words) if script == "bench" else parser().parse_args([names[script], *words])

    def test_a_negative_number_can_be_typed_as_spice_writes_it(self, run):
        command = ("netlist", "--layers", 2, 3, 1, "--phase", "nudged", "--output", "a.cir", "--beta")
        assert run(*command, "-1e-9").code == 0


class TestProgram:
    """As a user starts it: in a separate process, from another folder."""

    @staticmethod
    def start(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def test_console_program_says_its_version(self, tmp_path):
        program = Path(sys.executable).with_name("eqprop-analog")
        done = self.start(program, "--version", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)

    def test_simulate_spice(self, tmp_path):
        script = REPOSITORY / "scripts/simulate_spice.py"
        done = self.start(sys.executable, script, "--layers", "4", "6", "2", "--json", "out.json", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((tmp_path / "out.json").read_text())["agreement"]["largest_difference"] <= AGREE

    def test_a_terminal_without_greek_letters_is_no_error(self, tmp_path):
        program = Path(sys.executable).with_name("eqprop-analog")
        done = self.start(program, "simulate", "--layers", "2", "3", "1", folder=tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")

    def test_train_mnist_refuses_other_data_than_the_published(self, tmp_path, dataset_folder):
        script = REPOSITORY / "scripts/train_mnist.py"
        done = self.start(sys.executable, script, "--data-dir", dataset_folder, folder=tmp_path)
        assert done.returncode == 2
        assert re.fullmatch(r"error: .*SHA-256.*\n", done.stderr)
        assert list(tmp_path.iterdir()) == []

    def test_scripts_can_be_executed(self):
        for script in (REPOSITORY / "scripts").glob("*.py"):
            assert script.stat().st_mode & 0o111, script.name
