"""Training in one call, as by the command ``train``, for Python programs and notebooks."""

import re
from pathlib import Path
from typing import Any

from eqprop_analog import data
from eqprop_analog.data.memory import save_samples
from eqprop_analog.experiments.presets import OWN_SHAPES, resolve
from eqprop_analog.experiments.results import Run
from eqprop_analog.experiments.run import train as train_run
from eqprop_analog.files import locked
from eqprop_analog.learning.trainer import silent

TAKEN = ("network", "checkpoint")
"""Names of files that a run writes."""


def _file_name(name: str) -> str:
    """Return the name of the file in the run's folder for samples from memory."""
    return name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) and name not in TAKEN else "data"


def train(dataset: data.Dataset | str | Path, output: str | Path, preset: str | None = None, **settings: Any) -> Run:
    """Train a network on a data set and store all results in a folder, as the command ``eqprop-analog train`` does.

    The arguments:

    - dataset: made by ``dataset_from_arrays``, ``dataset_from_loader`` or ``load_dataset``; or a known name ("digits").
    - output: the run's folder. The same call resumes a run in that folder; `verify` and `report` accept it.
    - preset: the name of a preset, or a TOML file; without one, the settings follow from the network.
    - settings: override those of the preset, such as ``layers=[4, 30, 3]``, ``epochs=20``, ``solver="ngspice"``, ``seed=1``; in
      SI units.

    Returns the run: ``run.network`` (float64), ``run.metrics`` (errors as fractions, root mean square errors in volts)
    and ``run.folder``. Raises UserError for settings and data that do not fit.

    >>> import tempfile
    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> dataset = ea.dataset_from_arrays(x, labels=x[:, 0] + x[:, 1] > 0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = ea.train(dataset, f"{folder}/run", layers=[2, 8, 2], epochs=20)
    >>> run.network.layers, run.metrics["test_error"] < 0.3
    ((2, 8, 2), True)
    """
    folder = Path(output)
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    solver = str(settings.get("solver", "surrogate"))
    with locked(folder):
        if isinstance(dataset, data.OwnDataset) and dataset.own is not None:
            named = dataset.source or str(folder / f"{_file_name(dataset.name)}.npz")
            if not dataset.source:
                save_samples(dataset, Path(named))
            asked = dataset.own.model_dump(exclude={"found"}, exclude_defaults=True)
            settings |= {"dataset": named, "own_data": asked}
        else:
            settings["dataset"] = dataset.name if isinstance(dataset, data.Dataset) else str(dataset)
        usual = OWN_SHAPES.get(solver, OWN_SHAPES["surrogate"])
        config = resolve(preset or usual, settings)
        published = dataset if isinstance(dataset, data.Dataset) and not isinstance(dataset, data.OwnDataset) else None
        return train_run(config, published or config.load_data(None), folder, resume=False, stage=silent)
