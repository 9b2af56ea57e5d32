"""A fitted technology as a specification file: each number with its uncertainty."""

from pathlib import Path
from typing import Any

import tomli_w

from eqprop_analog.devices.conductance.fitting import CRITERION, TechnologyFit
from eqprop_analog.text import in_one_line

UNMEASURED = (
    "Programming noise, drift and the circuit around the devices cannot be fitted to such data, so they are ideal here."
)


def specification_text(fit: TechnologyFit, source: Path) -> str:
    """Return the text of a TOML file from which Specification.load makes the technology."""
    table: dict[str, Any] = fit.technology().table()
    comments = {each.key: _comment(each.error, each.note) for each in fit.quantities()}
    lines = [f"# {line}" for line in _head(fit, source)]
    lines += [
        tomli_w.dumps({"description": f"fitted to {in_one_line(source.name)}"}).rstrip(),
        "impedance_scaling = true # conductances, currents and diodes of other windows are scaled by one factor",
    ]
    for name, part in table.items():
        values: dict[str, Any] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in part.items()
        }
        if name in ("spread", "stuck") and not any(values.values()):
            continue
        lines += ["", f"[conductance.{name}]"]
        for key, value in values.items():
            comment = comments.get(f"conductance.{name}.{key}", "")
            lines.append(tomli_w.dumps({key: value}).rstrip() + (f" # {comment}" if comment else ""))
    return "\n".join(lines) + "\n"


def _head(fit: TechnologyFit, source: Path) -> list[str]:
    moving = len(fit.readings.names)
    compared = ", ".join(f"{name} {figure:.1f}" for name, (figure, _) in fit.compared.items())
    head = [
        f"Fitted by `eqprop-analog technology fit` to {in_one_line(source.name)}: {fit.readings.count} steps, {moving} devices.",
        f"Law: {fit.law}, by {CRITERION} ({compared}).",
        UNMEASURED,
        "The comment after a number is its standard error.",
    ]
    if fit.readings.usual_width is not None:
        head.append(f"One pulse is {fit.readings.usual_width:g} s long.")
    return head


def _comment(error: float | None, note: str) -> str:
    return "; ".join(([] if error is None else [f"± {error:.2g}"]) + ([note] if note else []))
