"""An option for every setting of a training: its name, type, choices and help are taken from the field."""

import argparse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from eqprop_analog.cli import options, wiring
from eqprop_analog.cli.samples import known_datasets
from eqprop_analog.experiments.meanings import meanings
from eqprop_analog.experiments.presets import models
from eqprop_analog.quantities import InUnits, option

NO_OPTION = ("model", "own_data")
"""Settings without an option here: the preset defines them, or other options do."""
METAVARS = {"S": "SIEMENS", "V": "VOLTS", "A": "AMPERES"}
"""Metavariables by unit."""


@dataclass(frozen=True)
class Form:
    """The form of a setting on the command line."""

    kind: type
    """bool, int, float or str."""
    units: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    values: int | Literal["+"] | None = None
    """Number of values, as argparse's nargs."""
    lone: bool = False
    """Whether a single value is not made a list."""


def form_of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Form | None:
    """Return the form of a field's annotation; None for tables, which have no option."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return form_of(parts[0], (*parts[1:], *metadata))
    if origin is Literal:
        return Form(str, choices=tuple(str(part) for part in parts))
    if origin in (Union, UnionType):
        return _of_several([form_of(part, metadata) for part in parts if part is not NoneType])
    if origin in (list, tuple):
        inner = form_of(parts[0], metadata)
        return inner and replace(inner, values="+" if origin is list else len(parts))
    units = [each.units for each in metadata if isinstance(each, InUnits)]
    return Form(annotation, units[0] if units else ()) if annotation in (bool, int, float, str) else None


def _of_several(forms: list[Form | None]) -> Form | None:
    """Return the form of a union type: a single value, or a list of them."""
    known = [form for form in forms if form is not None]
    if len(known) < len(forms):
        return None
    several = len(known) > 1 and any(form.values == "+" for form in known)
    return replace(known[0], values="+", lone=True) if several else known[0]


@dataclass(frozen=True)
class Setting:
    """A setting in the configuration of one or several kinds of networks."""

    name: str
    form: Form
    meanings: Mapping[str, str]
    """Descriptions by the kind of network."""

    @property
    def flag(self) -> str:
        """The option's name."""
        return f"--{self.name.replace('_', '-')}"

    def help(self) -> str:
        """Description of the setting, for each kind of network if they differ."""
        texts = [text for text in dict.fromkeys(self.meanings.values()) if text]
        of = {text: [kind for kind, each in self.meanings.items() if each == text] for text in texts}
        told = (
            texts
            if len(texts) == 1
            else [f"of {' and '.join(kinds)} networks: {_begun(of)}" for of, kinds in of.items()]
        )
        return "; ".join(_begun(text).rstrip(".") for text in told).replace("``", "").replace("%", "%%")


def _begun(text: str) -> str:
    """Return a sentence as it continues after a colon; BLAS and G_min keep their capitals."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def settings(kinds: Collection[str] = ()) -> Iterator[Setting]:
    """Return all settings with an option, those of any network first; ``kinds`` restricts them to these networks."""
    known = {kind: model for kind, model in models().items() if not kinds or kind in kinds}
    names = dict.fromkeys(name for model in known.values() for name in model.model_fields)
    for name in names:
        fields = {kind: model.model_fields[name] for kind, model in known.items() if name in model.model_fields}
        forms = [form_of(field.annotation, tuple(field.metadata)) for field in fields.values()]
        found = [form for form in forms if form is not None]
        if name in NO_OPTION or len(found) < len(forms):
            continue
        choices = dict.fromkeys(choice for form in found for choice in form.choices)
        texts = {kind: meanings(known[kind]).get(name, "") for kind in fields}
        yield Setting(name, replace(found[0], choices=tuple(choices)), texts)


def add_settings(
    parser: argparse.ArgumentParser, kinds: Collection[str] = (), but_not: Collection[str] = (), note: str = ""
) -> None:
    """Add an option, None by default, for each setting of the networks ``kinds``, except those in ``but_not``."""
    everyone = tuple(kinds or models())
    general = parser.add_argument_group("settings of the preset that can be overridden", note or None)
    groups: dict[tuple[str, ...], Any] = {everyone: general}
    for setting in settings(kinds):
        of = tuple(setting.meanings)
        if of not in groups:
            groups[of] = parser.add_argument_group(f"settings of {' and '.join(of)} networks that can be overridden")
        if setting.name not in (*SPECIAL, *but_not):
            groups[of].add_argument(setting.flag, default=None, help=setting.help(), **_arguments(setting.form))
    options.add_diode(general, "diode of every hidden node")
    if "cell" not in but_not:
        wiring.add_cell(general)
    if "solver" not in but_not:
        options.add_solver(general)
    general.add_argument(
        "--dataset",
        metavar="NAME|FILE",
        help=f"data set of the training: {known_datasets()}",
    )


SPECIAL = ("diode", "cell", "solver", "dataset")
"""Options of settings that their fields do not describe completely."""


def _arguments(form: Form) -> dict[str, Any]:
    """Return the arguments of add_argument."""
    if form.kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if form.choices:
        return {"choices": list(form.choices)}
    kind: Any = option(*form.units) if form.units else form.kind
    metavar: Any = METAVARS.get(form.units[0], "X") if form.units else {int: "N", float: "X", str: "TEXT"}[form.kind]
    if form.values is None:
        return {"type": kind, "metavar": metavar}
    return {
        "type": kind,
        "nargs": form.values,
        "metavar": metavar if form.values == "+" else (metavar,) * form.values,
        "action": OneOrSeveral if form.lone else "store",
    }


class OneOrSeveral(argparse.Action):
    """Store a single value by itself, and several values as a list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:  # noqa: ARG002
        """Store the value or values."""
        setattr(namespace, self.dest, values[0] if len(values) == 1 else list(values))


def names() -> tuple[str, ...]:
    """Return the names of all settings that have an option."""
    return tuple(dict.fromkeys((*(setting.name for setting in settings()), *SPECIAL)))
