"""Common properties of all commands: exit codes, verbosity, JSON on standard output, completion, doctor and presets."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import bench
import pytest

import eqprop_analog
from eqprop_analog import ResistiveNetwork, cli
from eqprop_analog.cli import doctor, simulate
from eqprop_analog.experiments.presets import presets, resolve

PROGRAM = Path(sys.executable).with_name("eqprop-analog")
SMALL = ("simulate", "--layers", 2, 3, 1)
REPOSITORY = Path(__file__).parents[2]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash with the program on PATH."""
    places = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | places | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class TestExitCodes:
    def test_an_unexpected_error_is_one_line_that_asks_for_a_report(self, run, monkeypatch):
        monkeypatch.setattr(simulate, "compare", lambda *_, **__: 1 / 0)
        result = run(*SMALL)
        assert result.code == 1
        assert re.fullmatch(r"error: unexpected ZeroDivisionError: division by zero - this is a bug.*\n", result.err)
        assert "Traceback" in run(*SMALL, "--verbose").err

    def test_a_bound_that_is_not_met_is_3_after_all_figures(self, run, monkeypatch, tmp_path):
        monkeypatch.setattr("eqprop_analog.experiments.agreement.LARGEST_DIFFERENCE", -1.0)
        result = run(*SMALL, "--json", "out.json")
        assert result.code == 3
        assert "NOT MET" in result.out
        assert re.fullmatch(r"not met: .*\n", result.err)
        assert json.loads((tmp_path / "out.json").read_text())["agreement"]["met"] is False

    def test_memory_that_is_not_there_is_no_bug(self, run, monkeypatch):
        def compare(*_: object, **__: object) -> None:
            raise MemoryError("Unable to allocate 1 EiB")

        monkeypatch.setattr(simulate, "compare", compare)
        result = run(*SMALL)
        assert result.code == 2
        assert re.search("out of memory.*fewer", result.err)

    def test_nothing_typed_prints_the_help(self, run):
        result = run()
        assert result.code == 2
        assert result.out == run("--help").out

    @pytest.mark.parametrize(("typed", "meant"), [("trian", "train"), ("presents", "presets")])
    def test_a_command_that_is_misspelt(self, run, typed, meant):
        result = run(typed)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"did you mean {meant}?" in result.err

    def test_sigterm_ends_a_training_as_an_interrupt_does(self, tmp_path):
        command = ["train", "--preset", "digits-hopfield-ngspice", "--solver", "surrogate", "--output", "run"]
        with subprocess.Popen(
            [PROGRAM, *command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while not (tmp_path / "run" / "checkpoint.npz").exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert re.fullmatch(r"error: interrupted; run the same command again .*\n", err)

    @pytest.mark.parametrize("words", ["--help", "presets"])
    def test_a_reader_that_goes_away_is_no_error(self, words):
        done = shell(f"eqprop-analog {words} | true")
        assert done.stderr == ""
        assert done.returncode in (0, cli.Exit.BROKEN_PIPE)  # 0 if all was written before the reader went

    def test_a_closed_standard_output_is_no_error(self, tmp_path):
        done = shell(f"cd {tmp_path} && eqprop-analog simulate --layers 2 3 1 --json out.json >&-")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "out.json").exists()


class TestLoudness:
    @pytest.mark.parametrize("where", ["before", "after"])
    def test_quiet_leaves_results(self, run, where):
        words = ("xor", "--output", "x")
        loud, quiet = run(*words), run("-q", *words) if where == "before" else run(*words, "-q")
        assert "in x: xor.npz" in loud.out
        assert "in x: xor.npz" not in quiet.out
        figures = [
            [line for line in result.out.splitlines() if "in x:" not in line and "ms per equilibrium" not in line]
            for result in (loud, quiet)
        ]
        assert figures[0] == figures[1]

    def test_verbose_says_what_is_done_and_the_next_command_is_not(self, run):
        words = ("xor", "--output", "x")
        verbose = run(*words, "--verbose").out
        assert re.search(r"^\[\d+\.\d+ s, files\] x/xor\.npz written", verbose, re.MULTILINE)
        assert re.search(r"^\[\d+\.\d+ s, spice\.ngspice\.sweeps\] ngspice: ", verbose, re.MULTILINE)
        assert "[" not in run(*words).out.partition("XOR")[0]

    def test_both_are_refused(self, run):
        assert run(*SMALL, "-q", "-v").code == 2

    @pytest.mark.parametrize("words", [("--version",), ("train", "--version")])
    def test_version_before_and_after(self, run, words):
        result = run(*words)
        assert result.code == 0
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", result.out)


class TestJson:
    @pytest.mark.parametrize("words", [SMALL, ("xor", "--output", "x"), ("presets",), ("presets", "net1")])
    def test_on_standard_output_is_alone_there(self, run, words):
        result = run(*words, "--json", "-")
        assert result.code == 0
        figures = json.loads(result.out)
        assert figures["command"] == words[0]
        assert figures["versions"]["eqprop-analog"]
        assert result.err  # what people read
        assert not Path("-").exists()

    def test_holds_every_option_with_its_default(self, run):
        figures = json.loads(run(*SMALL, "--seed", 4, "--json", "-").out)
        asked = figures["options"]
        assert (asked["layers"], asked["seed"], asked["form"], asked["workers"]) == ([2, 3, 1], 4, "norton", 1)
        assert figures["agreement"]["beta"] == 0.1 * ResistiveNetwork.dense([2, 3, 1], 4).stiffness_bound()

    def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(self, run, monkeypatch):
        monkeypatch.setattr(simulate, "compare", lambda *_, **__: pytest.fail("computed"))
        Path("wall").write_text("")
        result = run(*SMALL, "--json", "wall/out.json")
        assert result.code == 2
        assert "cannot write wall/out.json" in result.err

    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_every_command_that_computes_has_it(self, run, command):
        assert ("--json FILE" in run(command, "--help").out) == (command not in ("netlist", "report"))

    @pytest.mark.parametrize("name", bench.BENCHMARKS)
    def test_every_benchmark_has_it(self, run_script, name):
        assert "--json FILE" in run_script("bench.py", name, "--help").out


class TestBench:
    def test_lattices_are_the_same_in_every_way_before_they_are_timed(self, run_script):
        result = run_script("bench.py", "lattice", "--sides", 3, "--samples", 2, "--repeats", 1, "--json", "-")
        figures = json.loads(result.out)
        assert (result.code, figures["command"]) == (0, "lattice")
        assert [case["side"] for case in figures["cases"]] == [3, 3]
        assert all(case["ngspice largest difference"] <= 1e-9 for case in figures["cases"])

    def test_meshes_are_solved_by_both_direct_solvers_where_there_are_both(self, run_script):
        result = run_script("bench.py", "mesh", "--sizes", 4, "--ohms", 20, "--json", "-")
        figures = json.loads(result.out)
        ways = ["SPARSE", "KLU"] if figures["klu"] else ["SPARSE"]
        assert (result.code, [row["nodes"] for row in figures["arrays"]]) == (0, [2 * (16 + 4)])
        assert all(row[name]["finished"] for row in figures["arrays"] for name in ways)
        assert all(0 < row["largest_difference"] <= 1e-9 for row in figures["arrays"])

    @pytest.mark.parametrize(
        ("option", "value"), [("--sizes", "1"), ("--ohms", "0"), ("--ohms", "nan"), ("--time-limit", "-1")]
    )
    def test_meshes_that_are_none_are_refused_by_the_option(self, run_script, option, value):
        result = run_script("bench.py", "mesh", option, value)
        assert (result.code, f"{option}: expected" in result.err) == (2, True)

    def test_ways_that_differ_are_no_benchmark(self, run_script, monkeypatch):
        monkeypatch.setattr(bench.lattice, "AGREEMENT", -1.0)
        result = run_script("bench.py", "lattice", "--sides", 3, "--samples", 2, "--repeats", 1)
        assert (result.code, result.err.startswith("not met: ")) == (3, True)

    def test_one_training_in_both_solvers(self, run_script):
        pytest.importorskip("sklearn", reason="its digits need no download")
        words = ("--preset", "digits-hopfield-ngspice", "--limit", 20, "--output", "c", "--json", "out.json")
        assert run_script("bench.py", "training", *words).code == 0
        figures = json.loads(Path("out.json").read_text())
        assert figures == json.loads(Path("c/comparison.json").read_text())
        assert max(map(max, figures["largest_relative_difference_by_epoch_and_layer"])) < 1e-9
        assert figures["test_error"]["ngspice"] == figures["test_error"]["surrogate"]
        assert Path("c/trajectories.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("name", ["surrogate", "spice", "pace", "lattice", "training"])
    def test_bad_input(self, run_script, name):
        result = run_script("bench.py", name, "--limit" if name == "training" else "--repeats", 0)
        assert result.code == 2
        assert "expected at least 1, got 0" in result.err


class TestCompletion:
    @staticmethod
    def offered(folder: Path, *words: str) -> list[str]:
        """Completions of bash for the last of ``words``."""
        quoted = " ".join(f"'{word}'" for word in ("eqprop-analog", *words))
        done = shell(
            f"cd {folder} && source ./script && "
            f"function_=$(complete -p eqprop-analog | sed 's/.*-F \\(\\S*\\).*/\\1/') && "
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words)} && $function_ eqprop-analog '{words[-1]}' '' && "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    def test_bash(self, tmp_path):
        for name in ("net.npz", "x.npy", "mine.toml", "notes.txt"):
            (tmp_path / name).write_text("")
        (tmp_path / "script").write_text(shell("eqprop-analog --print-completion bash").stdout)
        (tmp_path / "runs").mkdir()
        assert self.offered(tmp_path, "si") == ["simulate"]
        assert self.offered(tmp_path, "train", "--preset", "drn-") == ["drn-1h", "drn-2h", "drn-3h", "drn-xl", "drn-xs"]
        assert "mine.toml" in self.offered(tmp_path, "train", "--preset", "m")
        assert set(self.offered(tmp_path, "simulate", "--network", "")) == {"net.npz", "runs"}
        assert self.offered(tmp_path, "simulate", "--inputs", "") == ["x.npy", "runs"]
        assert self.offered(tmp_path, "train", "--output", "") == ["runs"]
        assert self.offered(tmp_path, "train", "--solver", "n") == ["ngspice"]
        assert self.offered(tmp_path, "presets", "net") == ["net1", "net2", "net3"]

    @pytest.mark.parametrize("shell_", ["zsh", "tcsh"])
    def test_other_shells_have_every_command(self, run, shell_):
        text = run("--print-completion", shell_).out
        assert all(command in text for command in cli.COMMANDS)


class TestDoctor:
    def test_knows_the_libraries_that_the_package_asks_for(self):
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert set(doctor.LIBRARIES) == {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}

    def test_a_limit_of_open_files_is_a_problem_of_every_check_it_stops(self, tmp_path, monkeypatch, run):
        def refuse(*_, **__):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(subprocess, "Popen", refuse)
        assert run("doctor", "--json", tmp_path / "found.json").code == 3
        rows = {row["check"]: row for row in json.loads((tmp_path / "found.json").read_text())["checks"]}
        for name in ("numpy", "numba", "mnist", "libngspice"):
            assert rows[name]["status"] == "problem"
            assert os.strerror(errno.EMFILE) in rows[name]["found"]

    def test_what_is_broken_is_said_and_breaks_nothing(self, tmp_path):
        broken = tmp_path / "broken"
        for name, code in {
            "numpy": "raise ImportError('no numpy today')",
            "matplotlib": "import os; os.abort()",
            "rich": "raise RuntimeError('no rich either')",
        }.items():
            (broken / name).mkdir(parents=True)
            (broken / name / "__init__.py").write_text(code)
        places = os.pathsep.join([str(broken), *filter(None, sys.path)])
        done = shell(
            f"cd {tmp_path} && eqprop-analog doctor --json found.json; "
            "echo $?; eqprop-analog simulate --layers 2 1; echo $?; eqprop-analog --help",
            PYTHONPATH=places,
        )
        assert "Traceback" not in done.stdout + done.stderr
        found = json.loads((tmp_path / "found.json").read_text())
        rows = {row["check"]: row for row in found["checks"]}
        assert found["met"] is False
        for check, words in {
            "numpy": "no numpy today",
            "rich": "no rich either",
            "matplotlib": "ended with exit code -6",
            "libngspice": "no numpy today",
        }.items():
            assert rows[check]["status"] == "problem"
            assert words in rows[check]["found"]
        assert rows["Python"]["status"] == rows["pooch"]["status"] == rows["disk"]["status"] == "ok"
        assert "\n3\n" in done.stdout  # of doctor
        assert "\n2\n" in done.stdout  # of simulate
        assert re.search("simulate needs a library that cannot be loaded .*doctor", done.stderr)
        assert "    doctor          Check" in done.stdout

    def test_solves_a_divider_in_ngspice(self):
        row = doctor.libngspice()
        assert (row.status, row.needed) == ("ok", True)
        assert ": 0.5 V in a worker" in row.found

    @pytest.mark.usefixtures("without_ngspice")
    def test_says_how_to_get_ngspice(self):
        row = doctor.libngspice()
        assert (row.status, row.found) == ("missing", "/nonexistent/libngspice: no such library (NGSPICE_LIBRARY_PATH)")
        assert "apt-get install" in row.advice

    def test_a_library_that_is_no_ngspice_is_a_problem(self, tmp_path, monkeypatch):
        (tmp_path / "libngspice.so").write_text("no library")
        monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
        assert doctor.libngspice().status == "problem"

    def test_data_in_the_cache_are_looked_at(self, tmp_path, monkeypatch):
        monkeypatch.setenv("EQPROP_ANALOG_CACHE", str(tmp_path))
        missing = doctor.dataset("fashion-mnist")
        assert (missing.status, missing.needed) == ("missing", False)
        assert "--data-dir" in missing.advice
        (tmp_path / "fashion-mnist").mkdir()
        assert doctor.dataset("fashion-mnist").status == "problem"

    def test_versions_outside_of_what_is_known_to_work(self):
        assert not doctor.within("1.26", "numpy<3,>=2.0")
        assert doctor.within("2.1", "numpy<3,>=2.0")


class TestPresets:
    def test_a_line_each(self, run):
        lines = run("presets").out.splitlines()
        assert [line.split()[0] for line in lines] == list(presets())
        assert all(resolve(name, {}).description in line for name, line in zip(presets(), lines, strict=True))

    @pytest.mark.parametrize("name", ["net1", "mnist-100", "p-conv-ce"])
    def test_one_is_a_file_that_gives_the_same_settings(self, run, tmp_path, name):
        (tmp_path / "mine.toml").write_text(run("presets", name).out)
        assert resolve("mine.toml", {}) == resolve(name, {})
        assert run("presets", "mine.toml").out == resolve(name, {}).toml()

    def test_an_unknown_one(self, run):
        result = run("presets", "net9")
        assert result.code == 2
        assert 'preset "net9" is unknown; there are ' in result.err


ALIASES = {"GraphNgspiceSolver": "NgspiceSolver"}
"""Names of 0.1.0 that stay for one version."""


def test_every_public_name_is_there_and_listed():
    assert set(eqprop_analog.__all__) <= set(dir(eqprop_analog))
    for name in eqprop_analog.__all__:
        assert getattr(eqprop_analog, name).__name__ == ALIASES.get(name, name)
    with pytest.raises(AttributeError, match="no attribute 'Laser'"):
        _ = eqprop_analog.Laser
