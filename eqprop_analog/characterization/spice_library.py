"""SPICE libraries of the user: one subcircuit with everything it needs, and nothing that would affect our own devices."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_analog.devices.spice_text import BEGINS, CODE_MODELS, ENDS, NAME, SCALES, SETTING, our_subcircuits, unfit
from eqprop_analog.errors import UserError
from eqprop_analog.files import read_bytes
from eqprop_analog.text import in_one_line, suggestion

LARGEST_FILE = 2**27
"""Bytes."""
DEEPEST = 20
"""Largest depth of nested includes."""
INCLUDES = (".include", ".inc", ".incl")
OPTIONS = (".option", ".options", ".opt")
WORD = re.compile(r"[\w.$#]+")
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(t|g|meg|k|mil|m|u|n|p|f|a)?[a-z]*$", re.IGNORECASE)
SUFFIXES = dict(t=1e12, g=1e9, meg=1e6, k=1e3, mil=25.4e-6, m=1e-3, u=1e-6, n=1e-9, p=1e-12, f=1e-15, a=1e-18)  # noqa: C408
BIN = re.compile(r"^(.+)\.\d+$")


@dataclass(frozen=True)
class Line:
    """A statement of a library, continuation lines joined to it by line feeds and "+"."""

    text: str
    file: Path
    number: int

    @property
    def words(self) -> list[str]:
        """The words in lower case."""
        return self.text.lower().split()

    def refuse(self, what: str) -> UserError:
        """Return a UserError that names this line."""
        return UserError(f"{self.file}, line {self.number}: {what}")


@dataclass(frozen=True)
class Block:
    """A subcircuit or a model card."""

    name: str
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The text as SPICE reads it."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True)
class Device:
    """A two-pin subcircuit with the models, subcircuits and parameters that it uses."""

    name: str
    text: str
    scale: float
    """Metres per unit of length (.option scale)."""


def read_device(libraries: Sequence[tuple[Path, str]], name: str) -> tuple[Device, Device]:
    """Subcircuit ``name`` of the files ``libraries`` (path, section or ""): with only the model bins it can use, and with all.

    Files are read as ngspice reads them, but only definitions are kept: ``.control`` blocks, analyses, elements outside
    subcircuits and options other than ``scale`` are refused with their line number. Raises UserError.
    """
    lines = [line for path, section in libraries for line in _statements(path, section)]
    blocks, others, scale = _sorted(lines)
    if not NAME.fullmatch(name):
        raise UserError(f"--subckt {in_one_line(name):.60}: expected the name of a subcircuit: letters, digits and _")
    subcircuits = {block.name: block for block in blocks if block.lines[0].words[0] in BEGINS}
    wanted = subcircuits.get(name.lower())
    if wanted is None:
        there = ", ".join(list(subcircuits)[:12]) or "none"
        raise UserError(
            f"--subckt {name}: there is no such subcircuit in {_files(libraries)}; there are {there}"
            f"{suggestion(name.lower(), subcircuits)}. Wrap a bare model in a subcircuit: .subckt mine anode "
            "cathode, the device with all its terminals, .ends"
        )
    pins = _pins(wanted)
    if len(pins) != 2:
        raise wanted.lines[0].refuse(
            f"subcircuit {name} has {len(pins)} pins ({' '.join(pins)}); expected 2, anode and cathode: write a "
            "subcircuit around it that connects the other pins to these two"
        )
    for taken in sorted(our_subcircuits() & subcircuits.keys()):
        where = subcircuits[taken].lines[0]
        raise where.refuse(f"{taken} is the name of a subcircuit of our netlists; rename this one")
    used = _reachable(wanted, blocks)
    for line in (line for block in used for line in block.lines):
        _fit(line, inside=True)
    small = _fitting_bins(used, scale)
    parameters = "\n".join(line.text for line in others)
    made = [
        Device(name, "\n".join([parameters, *(block.text for block in each)]).strip(), scale) for each in (small, used)
    ]
    return made[0], made[1]


def _files(libraries: Sequence[tuple[Path, str]]) -> str:
    return " or ".join(f"{path} {section}".strip() for path, section in libraries)


def _statements(path: Path, section: str, depth: int = 0) -> Iterator[Line]:
    """Statements of a file or of one of its ``.lib`` sections, with included files inserted in place."""
    if depth > DEEPEST:
        raise UserError(f"{path}: {DEEPEST} levels of nested includes; does a file include itself?")
    sections: list[str] = []
    inside = ""
    for line in _lines(path):
        word, *rest = line.words
        if word == ".end":
            break
        if word in (".control", ".endc"):
            raise line.refuse(
                ".control: commands in a library are not executed; remove the block, because models and subcircuits "
                "suffice"
            )
        if word == ".lib" and len(rest) == 1:
            inside = rest[0].strip("\"'")
            sections.append(inside)
        elif word in (".endl", ".endlib"):
            inside = ""
        elif inside == section.lower():
            yield from _included(line, depth) if word in (*INCLUDES, ".lib") else (line,)
    if section and section.lower() not in sections:
        near = suggestion(section.lower(), sections)
        raise UserError(f"{path}: there is no section {section}; there are {', '.join(sections) or 'none'}{near}")
    if sections and not section:
        raise UserError(
            f"{path}: the file has sections ({', '.join(sections)}); name one, as in --lib {path} {sections[0]}"
        )


def _included(line: Line, depth: int) -> Iterator[Line]:
    """Statements inserted by an ``.include`` or ``.lib FILE SECTION``."""
    given = re.match(r"\.\w+\s+(\"[^\"]+\"|'[^']+'|\S+)\s*(\S*)", line.text)
    if given is None:
        raise line.refuse("expected the name of a file")
    named = Path(given[1].strip("\"'")).expanduser()
    path = named if named.is_absolute() else line.file.parent / named
    if not path.is_file():
        raise line.refuse(f"{path}: no such file")
    yield from _statements(path, given[2].strip("\"'") if line.words[0] == ".lib" else "", depth + 1)


def _lines(path: Path) -> Iterator[Line]:
    """Logical lines without comments."""
    content = read_bytes(path, "SPICE library", LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE or b"\0" in content:
        raise UserError(f"{path}: not a SPICE library (the file is larger than 128 MiB, encrypted or binary)")
    begun: list[str] = []
    number = 0
    for k, raw in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        text = raw.strip()
        if not text or text[0] in "*$;#":
            continue
        if text[0] == "+" and begun:
            begun.append(text)
            continue
        if begun:
            yield Line("\n".join(begun), path, number)
        begun, number = [text], k
    if begun:
        yield Line("\n".join(begun), path, number)


def _sorted(lines: Sequence[Line]) -> tuple[list[Block], list[Line], float]:
    """Subcircuits, models, global parameters and functions, and the scale."""
    blocks: list[Block] = []
    others: list[Line] = []
    scale, opened, depth = 1.0, [], 0
    for line in lines:
        word = line.words[0]
        depth += (word in BEGINS) - (word in ENDS)
        if depth < 0:
            raise line.refuse(f"{word} without a .subckt before it")
        if depth or word in ENDS:
            opened.append(line if word[0] == CODE_MODELS else _fit(line, inside=True))  # which may be another device's
            if not depth:
                blocks.append(Block(_name(opened[0]), tuple(opened)))
                opened = []
        elif word == ".model":
            blocks.append(Block(_name(line), (line,)))
        elif word in OPTIONS:
            scale = _scale(line)
        else:
            others.append(_fit(line, inside=False))
    if depth:
        raise opened[0].refuse(f"subcircuit {_name(opened[0])} has no .ends")
    return blocks, others, scale


def _name(line: Line) -> str:
    """Name of a subcircuit or a model."""
    if len(line.words) < 2:
        raise line.refuse(f"{line.words[0]} without a name")
    return line.words[1]


def _fit(line: Line, *, inside: bool) -> Line:
    """Return the line if it is allowed there."""
    if why := unfit(line.text.replace("\n+", " "), inside=inside):
        raise line.refuse(why)
    return line


def _scale(line: Line) -> float:
    """Read ``.option scale``, which affects only the user's devices; any other option would change our circuits."""
    given = {name.lower(): value for name, value in SETTING.findall(line.text)}
    strange = [name for name in [*given, *(word for word in line.words[1:] if "=" not in word)] if name != "scale"]
    if strange:
        raise line.refuse(
            f"option {strange[0]} would change the whole circuit; remove it (use --celsius for the temperature; "
            "scale is allowed)"
        )
    scale = number(given.get("scale", ""))
    if scale is None or not SCALES[0] <= scale <= SCALES[1]:
        raise line.refuse(f"option scale: expected metres between 1e-9 and 1, got {given.get('scale', 'nothing')}")
    return scale


def number(text: str) -> float | None:
    """A number as SPICE writes it ("0.15u"), or None for anything else, such as an expression."""
    found = NUMBER.match(text.strip("'{}() "))
    return float(found[1]) * SUFFIXES.get((found[2] or "").lower(), 1.0) if found else None


def _pins(block: Block) -> list[str]:
    words = block.lines[0].text.replace("\n+", " ").split()[2:]
    pins: list[str] = []
    for k, word in enumerate(words):
        if "=" in word or word.lower().startswith("param") or (k + 1 < len(words) and words[k + 1].startswith("=")):
            break
        pins.append(word)
    return pins


def _reachable(wanted: Block, blocks: Sequence[Block]) -> list[Block]:
    """Return ``wanted`` and every block that it refers to, directly or indirectly, in the order of the files."""
    by_name: dict[str, list[Block]] = {}
    for block in blocks:
        by_name.setdefault(base_name(block), []).append(block)
    reached, waiting = {id(wanted)}, [wanted]
    while waiting:
        for word in WORD.findall(waiting.pop().text.lower()):
            for block in by_name.get(word, ()):
                if id(block) not in reached:
                    reached.add(id(block))
                    waiting.append(block)
    return [block for block in blocks if id(block) in reached]


def base_name(block: Block) -> str:
    """Name of a model without the number of its bin."""
    found = BIN.match(block.name)
    return found[1] if found and block.lines[0].words[0] == ".model" else block.name


def _fitting_bins(blocks: Sequence[Block], scale: float) -> list[Block]:
    """Drop the model bins that no device's length and width select; keep all if a device's are not plain numbers."""
    sizes = _sizes([block for block in blocks if block.lines[0].words[0] in BEGINS], scale)
    if sizes is None:
        return list(blocks)
    kept = [block for block in blocks if base_name(block) == block.name or any(_holds(block, *each) for each in sizes)]
    lost = {base_name(block) for block in blocks} - {base_name(block) for block in kept}
    return [block for block in blocks if block in kept or base_name(block) in lost]


def _sizes(subcircuits: Sequence[Block], scale: float) -> list[tuple[float, float]] | None:
    """(length, width) in metres of every MOS transistor; None if one is not a plain number."""
    sizes = []
    for block in subcircuits:
        for line in block.lines:
            if line.words[0][0] != "m":
                continue
            given = {name.lower(): number(value) for name, value in SETTING.findall(line.text)}
            length, width, fingers = given.get("l"), given.get("w"), given.get("nf", 1.0)
            if not length or not width or not fingers:
                return None
            sizes += [(length * scale, width * scale), (length * scale, width * scale / fingers)]
    return sizes


def _holds(model: Block, length: float, width: float) -> bool:
    given = {name.lower(): number(value) for name, value in SETTING.findall(model.text)}
    bounds = [given.get(name) for name in ("lmin", "lmax", "wmin", "wmax")]
    if any(bound is None for bound in bounds):
        return True
    low, high, narrow, wide = (float(bound or 0) for bound in bounds)
    near = 1e-9  # metres; adjacent bins touch
    return low - near <= length <= high + near and narrow - near <= width <= wide + near
