"""Reading any file ends with a result or a UserError: no traceback, no execution of its content, no unbounded memory.

``pytest tests/properties/test_fuzzing.py --hypothesis-profile=long`` tries a thousand times as much; see
docs/reliability.md.
"""

import gzip
import io
import json
import os
import resource
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idx import format_idx

from eqprop_analog import HopfieldNetwork, ResistiveNetwork
from eqprop_analog.data import Dataset, formats, publications
from eqprop_analog.data.formats import (
    CIFAR_FOLDER,
    CIFAR_RECORD,
    CIFAR_TEST,
    CIFAR_TRAIN,
    parse_cifar,
    parse_idx,
)
from eqprop_analog.errors import UserError
from eqprop_analog.experiments import run as trained
from eqprop_analog.experiments.checkpoint import FORMAT, Checkpoint
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.files import packaged, read_array
from eqprop_analog.learning.trainer import silent
from eqprop_analog.networks.hopfield.config import HopfieldConfig
from eqprop_analog.networks.resistive.config import ResistiveConfig

HOARD = 2**28
"""Bytes by which no small file may make this process grow."""
FILES = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
DANGEROUS = b"cos\nsystem\n(S'touch EXECUTED'\ntR."
"""A pickle that leaves a file behind where it is loaded."""

numbers = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**63, 10**30, -(2**63)]),
    st.floats(),
    st.sampled_from([0.0, 1e-300, 1e300, -1e-7, 0.5]),
)
texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "__class__", "../../etc/passwd", "ngspice", "clamp", "sigmoid", "cuda"])
)
values = st.recursive(
    st.one_of(numbers, texts, st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


@contextmanager
def require_harmless(tmp: Path) -> Iterator[None]:
    """Fails unless the block succeeds or raises UserError, executes nothing from a file, and needs little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    here = Path.cwd()
    os.chdir(tmp)
    try:
        yield
    except UserError:
        pass
    finally:
        os.chdir(here)
    assert not (tmp / "EXECUTED").exists()
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < HOARD


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One for all examples of a test, because hypothesis creates no new one for each."""
    return tmp_path_factory.mktemp("fuzzed")


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """``content`` cut, with other bytes in it, or with a part of it twice."""

    def change(places: list[tuple[int, bytes]], end: int) -> bytes:
        result = bytearray(content)
        for place, other in places:
            result[place : place + len(other)] = other
        return bytes(result[: len(result) - end])

    place = st.integers(0, max(len(content) - 1, 0))
    return st.one_of(
        st.binary(max_size=200),
        st.builds(change, st.lists(st.tuples(place, st.binary(min_size=1, max_size=8)), max_size=6), st.just(0)),
        st.builds(change, st.lists(st.tuples(place, st.binary(min_size=1, max_size=8)), max_size=2), place),
    )


# Configurations


def defaults(kind: type[TrainConfig], **own: Any) -> dict[str, Any]:
    return {"batch_size": 4, "epochs": 1, "dataset": "digits", **own}


RESISTIVE = defaults(
    ResistiveConfig, layers=[16, 5, 3], beta=1e-7, conductance_rates=1e-15, bias_rates=1e-15, sweeps=2, test_sweeps=2
)
HOPFIELD = defaults(
    HopfieldConfig, model="hopfield", layers=[16, 5, 3], beta=0.5, weight_rates=0.1, dynamics="discrete-time", free_steps=3,
    nudged_steps=2, test_steps=3,
)  # fmt: skip
NAMES = {"resistive": sorted(ResistiveConfig.model_fields), "hopfield": sorted(HopfieldConfig.model_fields)}
SLOW = {"model", "layers", "connections", "free_steps", "nudged_steps", "test_steps", "sweeps", "test_sweeps", "epochs", "step",
        "head", "device", "solver", "workers", "threads", "dynamics", "shift", "dataset", "seed"}  # fmt: skip
"""Settings that may rightly make a training long or large."""
SENSIBLE = {
    "nudging": ["centred", "one-sided", "random-sign"],
    "kind": ["conductance", "current", "output"],
    "cost": ["squared-error", "cross-entropy"],
    "method": ["equilibrium-propagation", "implicit", "bptt"],
    "signal": ["contrast", "vector-field", "differential"],
    "update": ["once", "continual"],
    "on_failure": ["stop", "skip"],
    "outputs": ["single", "pairs"],
    "precision": ["float32", "float64"],
    "initial": ["glorot", "fan-in"],
    "untied": [True],
    "persistent": [True],
    "validation": [True],
    "diode": [
        {"law": law, "arrangement": a} for law in ("clamp", "shockley", "ngspice") for a in ("single", "antiparallel")
    ],
    "buffer": [{"law": "sigmoid"}, {"law": "hard-sigmoid", "gain": 2.0}],
}


@st.composite
def tables(draw: st.DrawFn, base: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """``base`` with some settings omitted, some changed to any value, and some that do not exist."""
    table = dict(base)
    for name in draw(st.lists(st.sampled_from(sorted(base)), max_size=2)):
        table.pop(name, None)
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        table[name] = draw(st.sampled_from(SENSIBLE[name]) if name in SENSIBLE and draw(st.booleans()) else values)
    return table | draw(st.dictionaries(texts, values, max_size=1))


def toml(table: dict[str, Any]) -> bytes:
    with suppress(Exception):
        return tomli_w.dumps(table).encode()
    return b"\xff"


overrides = st.fixed_dictionaries(
    {},
    optional={
        "layers": st.lists(st.integers(), min_size=1, max_size=4),
        "solver": st.sampled_from(["surrogate", "ngspice"]),
        "method": st.sampled_from(SENSIBLE["method"]),
        "seed": st.integers(),
        "rate_factor": st.floats(),
    },
)
"""As the command line gives them."""


@FILES
@given(data=st.data(), base=st.sampled_from([RESISTIVE, HOPFIELD]))
def test_configuration(folder, data, base):
    table = data.draw(tables(base, NAMES[base.get("model", "resistive")]))
    content = toml(table)
    path = folder / "fuzzed.toml"
    path.write_bytes(data.draw(st.one_of(st.just(content), damaged(content))))
    with require_harmless(folder):
        resolve(str(path), data.draw(overrides))


@pytest.mark.parametrize("text", [b"a = " + b"[" * 10**5, b"a = 1" + b"0" * 10**4, b"a = 1\n" * 2**18])
def test_toml_without_end_is_refused(folder, text):
    (folder / "endless.toml").write_bytes(text)
    with pytest.raises(UserError, match="not a readable TOML file"):
        resolve(str(folder / "endless.toml"), {})


PIXELS = np.random.default_rng(0).uniform(size=(24, 64)).astype(np.float32)
DATA = Dataset("digits", np.tile(PIXELS, (10, 1)), np.arange(240) % 3, PIXELS, np.arange(24) % 3)


@FILES
@given(data=st.data(), base=st.sampled_from([RESISTIVE, HOPFIELD]))
def test_training_by_any_configuration(folder, data, base):
    base = base | {"layers": [64, 5, 3], "limit": 12}
    names = sorted(set(NAMES[base.get("model", "resistive")]) - SLOW)
    path = folder / "fuzzed.toml"
    path.write_bytes(toml(data.draw(tables(base, names)) | {name: base[name] for name in sorted(SLOW & set(base))}))
    with require_harmless(folder), tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        for name in ("learning_curve", "versions"):
            patch.setattr(trained, name, lambda *arguments: None)
        patch.setattr("eqprop_analog.networks.resistive.histograms.conductance_histograms", lambda *arguments: None)
        patch.setattr("eqprop_analog.kernels.find_spec", lambda name: None)  # nothing is compiled for a dozen images
        trained.train(resolve(str(path), {}), DATA, Path(scratch) / "run", resume=False, stage=silent)


SPECIFICATIONS = {name: path.read_bytes() for name, path in packaged("specifications").items()}


@FILES
@given(data=st.data(), name=st.sampled_from(sorted(SPECIFICATIONS)))
def test_specification(folder, data, name):
    path = folder / "fuzzed.toml"
    parts = st.dictionaries(st.sampled_from(sorted(Specification.model_fields)), values, max_size=3)
    path.write_bytes(data.draw(st.one_of(damaged(SPECIFICATIONS[name]), parts.map(toml))))
    with require_harmless(folder):
        Specification.load(str(path)).technology  # noqa: B018


# Data sets

IDX = format_idx(np.arange(60, dtype=np.uint8).reshape(5, 4, 3))


@given(
    content=st.one_of(
        damaged(IDX), st.builds(lambda d, s: bytes([0, 0, 8, d]) + s, st.integers(0, 255), st.binary(max_size=1100))
    )
)
def test_idx(folder, content):
    with require_harmless(folder):
        parse_idx(content, "fuzzed")


def archive(*members: tuple[str, bytes, bytes, str]) -> bytes:
    """Names, contents, tar types and link names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content, kind, link in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, link
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


BATCHES = [f"{CIFAR_FOLDER}/{name}" for name in (*CIFAR_TRAIN, *CIFAR_TEST)]
CIFAR = archive(*((name, bytes(CIFAR_RECORD), tarfile.REGTYPE, "") for name in BATCHES))
names = st.sampled_from([*BATCHES, "../EXECUTED", "/EXECUTED", CIFAR_FOLDER])
members = st.tuples(
    names,
    st.sampled_from([b"", bytes(CIFAR_RECORD), DANGEROUS, b"\xff" * CIFAR_RECORD]),
    st.sampled_from(
        [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
    ),
    names,
)


@FILES
@given(data=st.data())
def test_cifar_archive(folder, data):
    made = st.lists(members, max_size=8).map(lambda some: archive(*some))
    content = data.draw(st.one_of(damaged(CIFAR), made, st.just(DANGEROUS)))
    packed = data.draw(
        st.one_of(st.just(gzip.compress(content, 1)), st.just(content), damaged(gzip.compress(content, 1)))
    )
    with require_harmless(folder):
        parse_cifar(packed, "fuzzed")


def test_archive_that_unpacks_to_too_much_is_refused(folder, monkeypatch):
    monkeypatch.setattr(formats, "MOST_BYTES", 2**20)
    bomb = folder / "train-images-idx3-ubyte.gz"
    bomb.write_bytes(gzip.compress(bytes(2**21)))
    with pytest.raises(UserError, match="unpacks to more than"):
        parse_cifar(bomb.read_bytes(), "bomb")
    with pytest.raises(UserError, match="unpacks to more than"):
        publications.read(publications.PUBLICATIONS["mnist"], folder)


# Networks, checkpoints, arrays


def npz(arrays: dict[str, Any], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Like np.savez, including pickles; bytes are written unchanged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            if isinstance(array, bytes):
                content.write(array)
            else:
                np.lib.format.write_array(content, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", content.getvalue())
    return file.getvalue()


def contents(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


class Executing:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch EXECUTED",)


def lying(shape: tuple[int, ...], descr: str) -> bytes:
    """A header that announces more data than the file has."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": descr, "fortran_order": False, "shape": shape})
    return content.getvalue() + bytes(24)


hostile = st.one_of(
    st.builds(lying, st.lists(st.sampled_from([0, 1, 3, 2**20, 2**40, 2**62, -1]), max_size=4).map(tuple),
              st.sampled_from(["<f8", "<f4", "|O", "<U9", "|V0", "|S0", "<i8"])),
    st.builds(np.zeros, st.lists(st.integers(0, 5), max_size=3).map(tuple),
              st.sampled_from([np.float32, np.float64, np.int64, np.complex128, bool])),
    st.sampled_from([np.array([Executing()], object), np.array(np.nan), np.full((8, 3), np.inf), DANGEROUS, b""]),
)  # fmt: skip


@st.composite
def rewritten(draw: st.DrawFn, original: dict[str, Any], text: str) -> bytes:
    """The file of these arrays with some arrays, words of its JSON text, or bytes changed."""
    changed = dict(original)
    description = json.loads(str(changed[text]))
    target = description
    for _ in range(draw(st.integers(0, 3))):
        inner = [
            each
            for each in (target.values() if isinstance(target, dict) else target)
            if isinstance(each, (dict, list)) and each
        ]
        if inner:
            target = draw(st.sampled_from(inner))
    for _ in range(draw(st.integers(0, 2))):
        if isinstance(target, dict):
            target[draw(st.sampled_from(sorted(target) or ["x"]))] = draw(values)
        else:
            target.append(draw(values))
    changed[text] = np.array(json.dumps(description))
    for name in draw(st.lists(st.sampled_from([*sorted(changed), "another"]), max_size=2)):
        changed[name] = draw(hostile)
    content = npz(changed, compression=draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    return draw(st.one_of(st.just(content), st.just(content), damaged(content)))


@pytest.fixture(scope="module")
def networks(folder) -> dict[str, dict[str, Any]]:
    ResistiveNetwork.dense([4, 3, 2], seed=0, amplifier_gain=2.0).save(folder / "resistive.npz")
    HopfieldNetwork.dense([4, 3, 2], seed=0, untied=True, classes=2).save(folder / "hopfield.npz")
    config = resolve(str(packaged("presets")["p-conv-ce"]), {})
    assert isinstance(config, HopfieldConfig)
    return {kind: contents(folder / f"{kind}.npz") for kind in ("resistive", "hopfield")}


@FILES
@given(data=st.data(), kind=st.sampled_from([ResistiveNetwork, HopfieldNetwork]))
def test_network_file(folder, networks, data, kind):
    original = networks["resistive" if kind is ResistiveNetwork else "hopfield"]
    path = folder / "fuzzed.npz"
    path.write_bytes(data.draw(rewritten(original, "description")))
    with require_harmless(folder):
        kind.load(path).validate()


def checkpoint(config: TrainConfig) -> Checkpoint:
    random = np.random.default_rng(0)
    return Checkpoint(config.training(6, 4, random), random)


@pytest.fixture(scope="module")
def saved(folder) -> dict[str, tuple[TrainConfig, dict[str, Any]]]:
    """A configuration and its checkpoint, of two kinds."""
    result = {}
    for name, base in (("resistive", RESISTIVE), ("hopfield", HOPFIELD | {"persistent": True, "momentum": 0.5})):
        (folder / f"{name}.toml").write_bytes(toml(base))
        config = resolve(str(folder / f"{name}.toml"), {})
        state = checkpoint(config)
        entry = {
            "epoch": 1,
            "train_error": 0.5,
            "test_error": 0.5,
            "seconds": 1.0,
            "samples": 6,
            "statuses": {"TRUNCATED": 3},
        }
        state.finish_epoch(entry)
        state.save(folder / "checkpoint.npz", config)
        result[name] = config, contents(folder / "checkpoint.npz")
    return result


@FILES
@given(data=st.data(), kind=st.sampled_from(["resistive", "hopfield"]))
def test_checkpoint(folder, saved, data, kind):
    config, original = saved[kind]
    path = folder / "fuzzed.npz"
    path.write_bytes(data.draw(rewritten(original, "state")))
    with require_harmless(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("eqprop_analog.kernels.find_spec", lambda name: None)
        state = checkpoint(config)
        state.restore(path, config)
        state.order(6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"format": "eqprop-analog checkpoint 1"},
            f'expected format "{FORMAT}", got "eqprop-analog checkpoint 1"; use the version',
        ),
        ({"weight_1": np.zeros((7, 5))}, r"weight_1: expected float64 \(16, 5\), got float64 \(7, 5\)"),
        ({"weight_1": lying((2**40, 5), "<f8")}, "header .* float64"),
        ({"momentum_weight_1": np.full((16, 5), np.nan)}, "momentum_weight_1: .*NaN"),
        ({"state_1": np.array([[Executing()] * 5] * 6)}, "object"),
        ({"trained": {"samples": -1, "wrong": 0, "statuses": {}}}, "state: trained.samples"),
        ({"history": [{"epoch": 1}]}, "state: history.0.train_error"),
        ({"random": {"bit_generator": "MT19937"}}, "not a checkpoint"),
    ],
)
def test_checkpoint_of_another_kind_is_refused_with_the_reason(folder, saved, changes, words):
    config, original = saved["hopfield"]
    state = json.loads(str(original["state"]))
    arrays = {name: value for name, value in changes.items() if name in original}
    state |= {name: value for name, value in changes.items() if name not in original}
    (folder / "other.npz").write_bytes(npz(original | {"state": np.array(json.dumps(state))} | arrays))
    with require_harmless(folder), pytest.raises(UserError, match=words):
        checkpoint(config).restore(folder / "other.npz", config)


@given(content=st.one_of(hostile, st.binary(max_size=100)), cut=st.integers(0, 40))
def test_array_file(folder, content, cut):
    path = folder / "fuzzed.npy"
    if isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
        content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, 0)] if cut < 20 else content)
    with require_harmless(folder):
        read_array(path, "fuzzed")
