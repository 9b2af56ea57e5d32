"""Technologies from TOML files: published ones that come with the package, and the user's own."""

import tomllib
from importlib.resources import files
from pathlib import Path

from eqprop_analog.devices.conductance.technology import Technology
from eqprop_analog.errors import UserError


def technologies() -> dict[str, Path]:
    """Files of the published technologies that come with the package, by name; each cites its sources."""
    folder = Path(str(files("eqprop_analog"))) / "technologies"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def technology(name_or_path: str | Path) -> Technology:
    """The technology of that name, or of a TOML file's [conductance]. Raises UserError, naming file, table and key."""
    known = technologies()
    path = known.get(str(name_or_path)) or Path(name_or_path)
    if path.suffix != ".toml":
        raise UserError(f'technology "{name_or_path}" is unknown; there are {", ".join(known)}, or name a .toml file')
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such technology file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a readable TOML file ({error})") from error
    table = values.pop("conductance", None)
    if not isinstance(table, dict):
        raise UserError(f"{path}: expected a table [conductance] (or [conductance.window] ...), got {table!r}")
    strange = set(values) - {"description"}
    if strange:
        raise UserError(f"{path}: {min(strange)} is unknown; a technology has description and conductance")
    try:
        return Technology.from_table(table)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
