"""The cells of CSV files: encoding, delimiter, quotation marks, comments and empty lines."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_analog.errors import UserError
from eqprop_analog.files import read_bytes
from eqprop_analog.text import in_one_line

LARGEST_FILE = 2**28
"""Bytes."""
DELIMITERS = ("\t", ";", ",")
"""Delimiters of columns, the least ambiguous first: a comma may also occur in a number or a name."""
TRIED = 20
"""Number of lines from which the delimiter is inferred."""
MOST_LINES = 50
"""Largest number of lines of a row with line breaks in quoted cells."""
COMMENTS = ("#", "%")
SPREADSHEET_ERROR = re.compile(r"#(N/A|DIV/0!|REF!|VALUE!|NUM!|NAME\?|NULL!)")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes in the representation of Python's error handler "surrogateescape"."""


@dataclass(frozen=True)
class Cells:
    """Rows of a file, without empty lines and comments."""

    rows: Sequence[tuple[int, list[str]]]
    """(first line, cells) of each row."""
    comments: dict[int, str]
    """Comments by line."""
    delimiter: str
    notes: tuple[str, ...]
    """Decisions made while reading, and omitted lines, in sentences."""


def read_cells(path: Path) -> Cells:
    """Read the cells of a file. Raises UserError, with the line, if it is not a CSV file."""
    lines = _text(path).split("\n")
    stated = re.fullmatch(r"sep=([,;|\t])", lines[0].strip())  # as written by spreadsheets
    at = 1 if stated else 0
    kept = [line for line in lines[at:] if line.strip() and not _is_comment(line)]
    delimiter = stated[1] if stated else _delimiter(kept[:TRIED])
    rows: list[tuple[int, list[str]]] = []
    comments: dict[int, str] = {}
    notes = []
    while at < len(lines):
        begin, line = at, lines[at]
        at += 1
        if _is_comment(line):
            comments[at] = _as_latin_1(line)
            continue
        if not line.strip():
            continue
        if not rows and NOT_UTF8.search(line):
            lines[begin] = line = _as_latin_1(line)
            notes.append(f"line {at} is not UTF-8 and was read as Latin-1")
        if '"' in line:
            cells, at = _quoted_cells(path, lines, begin, delimiter)
        else:
            cells = cells_of(line, delimiter)
        for number, each in enumerate(lines[begin:at], begin + 1):
            if not each.isascii() and (bad := NOT_UTF8.search(each)):
                raise UserError(
                    f"{path}, line {number}: expected text in UTF-8, got the byte {_byte(bad):#04x}; save the file "
                    "as UTF-8"
                )
        if any(cells):
            rows.append((begin + 1, cells))
    if comments:
        these = ", ".join(map(str, list(comments)[:5])) + (" ..." if len(comments) > 5 else "")
        notes.append(f"left out as comments: line{'s' if len(comments) > 1 else ''} {these}")
    return Cells(rows, comments, delimiter, tuple(notes))


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line, without surrounding spaces; none if it is not a line of a CSV file."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _text(path: Path) -> str:
    """Return the file's characters, with line feeds at the ends of lines; bytes that are not UTF-8 are kept as in NOT_UTF8."""
    content = read_bytes(path, "file", LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UserError(
            f"{path}: more than {LARGEST_FILE:,} bytes; leave out rows, or save arrays as .npz where this format is "
            "accepted"
        )
    binary = UserError(f"{path}: this is a binary file and not text; export the table as CSV")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise binary from error
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise binary
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_comment(line: str) -> bool:
    start = line.lstrip()
    return start.startswith(COMMENTS) and not SPREADSHEET_ERROR.match(start)


def _byte(found: re.Match[str]) -> int:
    return ord(found[0]) - 0xDC00


def _as_latin_1(line: str) -> str:
    return NOT_UTF8.sub(lambda found: chr(_byte(found)), line)


def _quoted_cells(path: Path, lines: Sequence[str], at: int, delimiter: str) -> tuple[list[str], int]:
    """Return the cells of a row with quotation marks, which may contain line breaks, and the index of the next line."""
    for end in range(at + 1, min(at + MOST_LINES, len(lines)) + 1):
        try:
            row = [f"{line}\n" for line in lines[at:end]]
            cells = next(csv.reader(row, delimiter=delimiter, skipinitialspace=True, strict=True))
        except csv.Error as error:
            if "unexpected end" not in str(error):
                raise UserError(f"{path}, line {at + 1}: not a line of a CSV file ({in_one_line(error)})") from error
        else:
            return [cell.strip() for cell in cells], end
    raise UserError(f'{path}, line {at + 1}: a quotation mark (") is not closed')


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that splits most lines into as many cells as the first; else the most frequent in the first."""
    for delimiter in DELIMITERS:
        counts = [len(cells_of(line, delimiter)) for line in lines]
        if counts and counts[0] > 1 and 2 * counts.count(counts[0]) > len(counts):
            return delimiter
    return max(reversed(DELIMITERS), key=lines[0].count) if lines else ","
