"""The results of a finished run: network, metrics and their files."""

import json
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eqprop_analog.core import Network
from eqprop_analog.core.shown import Shown, quantity_text
from eqprop_analog.experiments.agreement import Agreement
from eqprop_analog.files import write_csv, write_text
from eqprop_analog.plotting.agreement import agreement_of_run


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A finished run."""

    folder: Path
    network: Network
    """float64."""
    metrics: dict[str, Any]

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        last = self.metrics["history"][-1]
        errors = {
            name.replace("_", " "): f"{100 * value:.2f} %" for name, value in last.items() if name.endswith("_error")
        }
        rms = {
            name.replace("_rms", " error, rms"): quantity_text(v, "V")
            for name, v in last.items()
            if name.endswith("_rms")
        }
        return {"folder": str(self.folder), "epochs": str(last["epoch"])} | errors | rms


def add_agreement(run: Run, agreements: list[Agreement]) -> None:
    """Add the comparison with ngspice to the run's metrics, and draw it."""
    run.metrics["agreement"] = [agreement.figures() for agreement in agreements]
    write_metrics(run.folder, run.metrics)
    agreement_of_run(agreements[0], run.folder / "agreement.png")


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json`` with every figure, and ``metrics.csv`` with one line per epoch."""
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    rows = [{key: value for key, value in epoch.items() if key != "statuses"} for epoch in metrics["history"]]
    write_csv(folder / "metrics.csv", rows)


def versions() -> dict[str, str]:
    """Return the versions of the software on which a result depends."""
    result = {name: version(name) for name in ("eqprop-analog", "numpy", "scipy", "PySpice")}
    result["python"] = platform.python_version()
    try:
        text = subprocess.run(["ngspice", "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
        result["ngspice"] = next((word for word in text.split() if word.startswith("ngspice-")), "unknown")
    except FileNotFoundError:
        result["ngspice"] = "not installed"
    except (OSError, subprocess.TimeoutExpired) as error:  # such as a limit of the system
        result["ngspice"] = f"unknown ({error})"
    return result
