"""Many chips of one specification, and of its variations: cases that any executor can work on, one result file each."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits

from eqprop_analog import data
from eqprop_analog.batches import Split
from eqprop_analog.chips.chip import Chip
from eqprop_analog.chips.protocols import PROTOCOLS, Protocol, Recipe, in_software, judged, on_chip
from eqprop_analog.chips.specification import Specification
from eqprop_analog.config import ResistiveConfig, resolve
from eqprop_analog.config.base import Count
from eqprop_analog.config.presets import refused
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged_or_own, read_toml, write_text
from eqprop_analog.learning.trainer import Progress
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.solvers.workers import WorkerLostError, Workers

Array = np.ndarray
Stage = Callable[[str, int, str], AbstractContextManager[Progress]]
"""Opens a progress display: what is done, how many of them, and what they are called."""
log = logging.getLogger(__name__)


CIRCUIT = frozenset(
    {
        "layers",
        "outputs",
        "input_gain",
        "amplifier_gain",
        "conductance_window",
        "diode",
        "bias_row",
        "dataset",
        "validation",
        "precision",
    }
)
"""Settings that the network which is written into a chip must share with what learns there."""
ONLY = {"solver": "surrogate", "method": "equilibrium-propagation", "device": "cpu", "on_failure": "stop"}
"""Settings that have one value where a network is brought onto chips."""


class Point(BaseModel):
    """One place on a curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Annotated[float, Field(allow_inf_nan=False)]
    """In the unit of the curve."""
    having: dict[str, Any] = Field(default_factory=dict)
    """What the specification has otherwise here, by dotted names."""


class Sweep(BaseModel):
    """One imperfection, from none to much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    label: str
    """With its unit, for tables and axes."""
    points: list[Point] = Field(min_length=1)
    protocols: list[Protocol] = Field(list(PROTOCOLS), min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of learning on the chip that this curve has otherwise."""
    confirm: float | None = None
    """The x whose first chip is solved in ngspice as well."""

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        for what, values in (("x", [point.x for point in self.points]), ("protocols", self.protocols)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what}: {self.name} has one of them twice")
        circuit = sorted(CIRCUIT & self.training.keys())
        if circuit:
            raise ValueError(f"training: {circuit[0]} is the circuit's, the same for the whole study")
        return self

    @model_validator(mode="after")
    def _on_the_curve(self) -> Self:
        if self.confirm is not None and self.confirm not in [point.x for point in self.points]:
            raise ValueError(f"confirm: {self.confirm} is not among the points of {self.name}")
        return self


class Study(BaseModel):
    """Chips to make, and what to vary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    preset: str
    """Training configuration of the network: a preset's name or a TOML file."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings in place of the preset's."""
    specification: dict[str, Any] = Field(default_factory=dict)
    """What all curves begin with; see chips.specification."""
    chips: Count = 3
    seed: int = Field(0, ge=0)
    target_error: float = Field(0.05, gt=0, lt=1)
    """A chip with no more test error than this is a good one."""
    sweeps: list[Sweep] = Field(min_length=1)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From tables as a TOML file has them. Raises UserError."""
        try:
            study = cls.model_validate(values)
        except ValidationError as error:
            raise UserError(refused("study", error)) from error
        names = [sweep.name for sweep in study.sweeps]
        if len(set(names)) < len(names):
            raise UserError("study: two sweeps have the same name")
        for _ in study.cases():
            pass
        return study

    @classmethod
    def load(cls, name: str) -> Self:
        """One that comes with the package, by its name, or a TOML file. Raises UserError."""
        return cls.of(read_toml(packaged_or_own("studies", name, "study"), "study"))

    def cases(self) -> Iterator[tuple[Sweep, Point, "Case"]]:
        """Everything to be done; the same case may stand on several curves. Raises UserError."""
        base = Specification.of(self.specification)
        software = _config(self.preset, self.training)
        for sweep in self.sweeps:
            config = _config(self.preset, self.training | sweep.training)
            for point in sweep.points:
                specification = base.having(point.having)
                for protocol in sweep.protocols:
                    for chip in range(self.chips):
                        confirm = chip == 0 and point.x == sweep.confirm
                        yield sweep, point, Case(software, config, specification, protocol, self.seed, chip, confirm)


def _config(preset: str, changes: dict[str, Any]) -> ResistiveConfig:
    config = resolve(preset, changes)
    if not isinstance(config, ResistiveConfig):
        raise UserError(f"study: preset {preset}: expected a resistive network, got one of model {config.model}")
    for name, value in ONLY.items():
        if (given := getattr(config, name)) != value:
            raise UserError(f'study: preset {preset}: {name}: chips are trained with "{value}" alone, got "{given}"')
    return config


@dataclass(frozen=True)
class Case:
    """One chip that is to be brought to work by one protocol."""

    software: ResistiveConfig
    """How the network was trained that is written into it."""
    config: ResistiveConfig
    """How it learns itself."""
    specification: Specification
    protocol: Protocol
    seed: int
    chip: int
    keep: bool
    """Whether its conductances are kept beside its figures."""

    @property
    def key(self) -> str:
        """What its result depends on, in short: the name of its file."""
        parts = [
            self.config.model_dump(mode="json"),
            self.specification.model_dump(mode="json", exclude={"name", "description"}),
        ]
        parts += [self.software.model_dump(mode="json")] if self.protocol != "in-situ" else []
        return _hash(*parts, self.protocol, self.seed, self.chip)

    @property
    def software_key(self) -> str:
        """The same of the network that is written into it."""
        window = self.specification.technology.window
        return _hash(self.software.model_dump(mode="json"), window.lowest, window.highest)

    @property
    def recipe(self) -> Recipe:
        """What learns on the chip."""
        return Recipe(self.config, self.specification.technology.window)

    def drawn(self) -> Chip:
        """The chip, not yet programmed."""
        return Chip.drawn(self.specification, self.recipe.fresh(), self.seed, self.chip)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def result_path(folder: Path, case: Case) -> Path:
    """Where its figures are, once it is done."""
    return folder / "chips" / f"{case.key}.json"


def network_path(folder: Path, case: Case) -> Path:
    """Where its conductances are, if they were to be kept."""
    return result_path(folder, case).with_suffix(".npz")


def software_path(folder: Path, case: Case) -> Path:
    """Where the network is that is written into its chip."""
    return folder / "software" / f"{case.software_key}.npz"


def train_software(folder: Path, data_dir: Path | None, case: Case) -> None:
    """Train the network that is written into the chip of ``case``, into its file."""
    with threadpool_limits(1):
        split = Split.of(case.software, dataset(case.software.dataset, data_dir))
        network = in_software(Recipe(case.software, case.specification.technology.window), split)
    network.save(software_path(folder, case))


def measure(folder: Path, data_dir: Path | None, case: Case) -> None:
    """Do one case and write its figures; a chip that cannot be brought to work is a result too. Raises UserError for files."""
    begin = time.perf_counter()
    with threadpool_limits(1):
        split = Split.of(case.config, dataset(case.config.dataset, data_dir))
        software = None if case.protocol == "in-situ" else ResistiveNetwork.load(software_path(folder, case))
        chip = case.drawn()
        figures: dict[str, Any]
        try:
            on_chip(case.protocol, chip, case.recipe, software, split)
            result = judged(chip, split.held_out_images, split.held_out_labels)
            figures = {f"{split.held_out}_error": result.error, "statuses": dict(result.statuses)}
        except (UserError, np.linalg.LinAlgError) as error:
            figures = {"failure": str(error)}
    if case.keep and "failure" not in figures:
        chip.network.astype(np.float64).save(network_path(folder, case))
    figures["seconds"] = time.perf_counter() - begin
    write_text(result_path(folder, case), json.dumps(figures, indent=1) + "\n")


def read(folder: Path, case: Case) -> dict[str, Any] | None:
    """The figures of a case that is done; UserError for a damaged file."""
    path = result_path(folder, case)
    if not path.exists():
        return None
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); delete it to measure that chip again") from error
    if not isinstance(figures, dict):
        raise UserError(f"{path}: expected a table of figures; delete it to measure that chip again")
    if case.keep and "failure" not in figures and not network_path(folder, case).exists():
        return None
    return figures


def _quiet(*_stage: object) -> AbstractContextManager[Progress]:
    return nullcontext(lambda _done, _error: None)


def complete(study: Study, folder: Path, data_dir: Path | None, work: Workers, stage: Stage = _quiet) -> None:
    """Do all cases of ``study`` that have no result in ``folder`` yet, first the networks that are written into chips.

    ``work``: processes of our own, or any executor (``Workers(1, seconds, executor=client.get_executor())`` on a Dask cluster
    that sees ``folder``). What is given up, by its time limit or with its worker, is logged and left out.
    """
    cases = distinct(study)
    software = {case.software_key: case for case in cases if case.protocol != "in-situ"}
    _complete(
        "networks trained on the ideal circuit",
        software.values(),
        train_software,
        _trained,
        folder,
        data_dir,
        work,
        stage,
    )
    ready = [case for case in cases if case.protocol == "in-situ" or _trained(folder, case)]
    _complete("chips", ready, measure, _done, folder, data_dir, work, stage)


def distinct(study: Study) -> list[Case]:
    """Every case once; kept where any curve asks for it."""
    cases: dict[str, Case] = {}
    for _, _, case in study.cases():
        if case.key not in cases or case.keep:
            cases[case.key] = case
    return list(cases.values())


def _complete(
    what: str,
    cases: Collection[Case],
    task: Callable[[Path, Path | None, Case], None],
    done: Callable[[Path, Case], bool],
    folder: Path,
    data_dir: Path | None,
    work: Workers,
    stage: Stage,
) -> None:
    missing = [case for case in cases if not done(folder, case)]
    if len(missing) < len(cases):
        log.info("%s holds %d of %d %s already", folder, len(cases) - len(missing), len(cases), what)
    jobs = [work.submit(task, folder, data_dir, case) for case in missing]
    lost = 0
    with stage(what, len(cases), what.partition(" ")[0]) as progress:
        for number, (case, job) in enumerate(zip(missing, jobs, strict=True), start=len(cases) - len(missing) + 1):
            try:
                work.result(job)
            except (TimeLimitExceeded, WorkerLostError) as error:
                lost += 1
                log.warning(
                    "%s on chip %d was given up (%s: %s)", case.protocol, case.chip, type(error).__name__, error
                )
            progress(number, lost / number)


def _trained(folder: Path, case: Case) -> bool:
    return software_path(folder, case).exists()


def _done(folder: Path, case: Case) -> bool:
    return read(folder, case) is not None


def table(study: Study, folder: Path) -> list[dict[str, Any]]:
    """A row a chip, protocol and point of a curve, for those that are done."""
    rows = []
    for sweep, point, case in study.cases():
        figures = read(folder, case)
        if figures is not None:
            where = {"sweep": sweep.name, "x": point.x, "protocol": case.protocol, "chip": case.chip}
            rows.append({**where, "file": case.key, **figures})
    return rows


def summary(study: Study, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a point and protocol: mean error over chips, its 95 % interval (Student's t), and yield at the target error."""
    result = []
    for sweep in study.sweeps:
        for protocol in sweep.protocols:
            for point in sweep.points:
                where = {"sweep": sweep.name, "x": point.x, "protocol": protocol}
                errors = np.array([_error(row) for row in rows if where.items() <= row.items()])
                known = errors[np.isfinite(errors)]
                half = (
                    float(stdtrit(known.size - 1, 0.975) * known.std(ddof=1) / np.sqrt(known.size))
                    if known.size > 1
                    else None
                )
                result.append(
                    where
                    | {
                        "chips": errors.size,
                        "missing": study.chips - errors.size,
                        "failures": int(errors.size - known.size),
                        "mean_error": float(known.mean()) if known.size else None,
                        "interval": half,
                        "yield": float((errors <= study.target_error).mean()) if errors.size else None,
                    }
                )
    return result


def _error(row: dict[str, Any]) -> float:
    return float(row.get("test_error", row.get("validation_error", np.nan)))


@cache
def dataset(name: data.Name, data_dir: Path | None) -> data.Dataset:
    """A data set, read once in every process."""
    return data.load(name, data_dir)
