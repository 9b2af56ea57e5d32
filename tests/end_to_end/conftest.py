"""A small synthetic data set, a preset that fits it, and the commands run in this process."""

import dataclasses
import hashlib
import io
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from idx import format_idx

from eqprop_analog.cli import main
from eqprop_analog.data import formats, publications
from eqprop_analog.kernels import PlainKernels

REPOSITORY = Path(__file__).parents[2]
PATTERNS = np.kron(np.eye(3, 4)[:, :, None], np.ones(4)).astype(np.uint8)
"""Three classes of 4 x 4 pixels, each with a different bright row."""
SMALL = """\
layers = [16, 8, 3]
input_gain = 10.0
amplifier_gain = 4.0
beta = 1e-7
conductance_rates = [1e-15, 1e-15]
bias_rates = 1e-15
decay = 0.9
batch_size = 5
epochs = 2
"""
"""The main network's circuit with fewer nodes; float64, every phase converged."""


@dataclass(frozen=True)
class Result:
    """The result of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]
Refused = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def nothing_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Training in this process uses NumPy's kernels, except in modules marked ``compiled``: numba needs 10 s in a process.

    tests/properties/test_truncated_learner.py shows that both kinds of kernels compute the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("numba") is not None and request.node.get_closest_marker("compiled") is None:
            patch.setattr("eqprop_analog.kernels.numba.training.CompiledKernels", PlainKernels)
        yield


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``eqprop-analog`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def run_script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a file of ``scripts/`` as ``python FILE ...`` does, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_script(name: str, *arguments: object) -> Result:
        path = REPOSITORY / "scripts" / name
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(path), run_name="__main__")
        return Result(int(exit_.value.code or 0), *capsys.readouterr())

    return run_script


def write_dataset(folder: Path) -> Path:
    """90 training and 45 test images of three classes, as the four IDX files."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for images, labels, count in (
        (formats.TRAIN_IMAGES, formats.TRAIN_LABELS, 90),
        (formats.TEST_IMAGES, formats.TEST_LABELS, 45),
    ):
        classes = (np.arange(count) % 3).astype(np.uint8)
        noise = random.integers(0, 76, (count, 4, 4), dtype=np.uint8)
        (folder / images).write_bytes(format_idx(179 * PATTERNS[classes] + noise))
        (folder / labels).write_bytes(format_idx(classes))
    return folder


def published(folder: Path) -> publications.Publication:
    """MNIST's publication with the checksums of the files in ``folder``, and without sources."""
    mnist = publications.PUBLICATIONS["mnist"]
    sha256 = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in mnist.sha256}
    return dataclasses.replace(mnist, sha256=sha256, sources=())


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic data set on disk."""
    return write_dataset(tmp_path_factory.mktemp("data") / "synthetic")


@pytest.fixture(scope="session")
def publish(dataset_folder: Path) -> Callable[[pytest.MonkeyPatch], None]:
    """Make the synthetic data set's checksums MNIST's published ones, until the patch is undone."""
    return lambda patch: patch.setitem(publications.PUBLICATIONS, "mnist", published(dataset_folder))


@pytest.fixture
def dataset(dataset_folder: Path, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for ``--data-dir``, which passes for MNIST while the test runs."""
    publish(monkeypatch)
    return dataset_folder


@pytest.fixture(scope="session")
def small() -> str:
    """The text of a configuration for the synthetic data set."""
    return SMALL


@pytest.fixture
def preset(tmp_path: Path, small: str) -> Path:
    """A configuration file for the synthetic data set."""
    path = tmp_path / "small.toml"
    path.write_text(small)
    return path


@pytest.fixture(scope="session")
def finished_run(
    dataset_folder: Path, publish: Callable[..., None], small: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of a finished training without ngspice: two epochs of ``preset``. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(small)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        publish(patch)
        patch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent/libngspice")
        options = ["--preset", folder / "small.toml", "--data-dir", dataset_folder, "--output", folder / "run"]
        assert main(["train", *map(str, options)]) == 0
    return folder / "run"


@pytest.fixture
def without_ngspice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No libngspice on this machine."""
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent/libngspice")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder`` with its content, every folder with None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Refused:
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
def refused_training(refused: Refused, preset: Path, dataset: Path) -> Refused:
    """``refused`` of a training on the synthetic data set into ``run``."""
    return lambda *more: refused("train", "--preset", preset, "--data-dir", dataset, "--output", "run", *more)


@pytest.fixture
def in_ngspice() -> Callable[[Path], dict[str, float]]:
    """What ``ngspice -b`` prints for a netlist: volts by net."""

    def in_ngspice(path: Path) -> dict[str, float]:
        done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=True, timeout=60)
        return {net: float(volts) for net, volts in re.findall(r"^v\((\w+)\) = (\S+)$", done.stdout, re.MULTILINE)}

    return in_ngspice
