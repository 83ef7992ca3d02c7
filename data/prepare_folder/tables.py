# SPDX-License-Identifier: Apache-2.0
"""Tables of pictures and captions: CSV, TSV, JSON lines, JSON arrays of objects."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import text_file
from prepare_folder import Entry, SourceError

# Names of columns and keys, in lower case; of several that are there, the first is taken.
PICTURE = ("picture", "file_name", "filename", "file", "image_file", "image_path", "image_name", "image_filename",
           "img_path", "filepath", "file_path", "path", "image", "photo", "img", "image_id", "id")
CAPTION = ("caption", "captions", "text", "texts", "sentence", "sentences", "description", "comment", "raw",
           "alt_text", "title")
SPLIT = ("split", "set", "subset", "partition")

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
DEEPEST = 8  # arrays in arrays of captions
LONGEST_FIELD = 1 << 20  # a quote that never ends would otherwise swallow the file


class Columns:
    """Where picture, captions and split stand in a row: positions of a table, keys of an object."""

    def __init__(self, picture: Any, captions: list[Any], split: Any) -> None:
        self.picture = picture
        self.captions = captions
        self.split = split


def plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


def find_columns(names: list[str], wanted: list[str] | None) -> Columns | None:
    """By the names that are known, or those that are asked for; None if picture or caption is not there."""
    lower = [plain(name) for name in names]

    def first(known: tuple[str, ...]) -> int | None:
        return next((lower.index(name) for name in known if name in lower), None)

    if wanted:
        chosen = [lower.index(plain(name)) if plain(name) in lower else None for name in wanted]
        if None in chosen:
            return None
        return Columns(chosen[0], [chosen[1]], chosen[2] if len(chosen) > 2 else None)
    picture, caption = first(PICTURE), first(CAPTION)
    numbered = [i for i, name in enumerate(lower) if re.fullmatch(rf"(?:{'|'.join(CAPTION)})_?\d+", name)]
    captions = [caption] if caption is not None else numbered
    return Columns(picture, captions, first(SPLIT)) if picture is not None and captions else None


def shown(value: Any) -> str:
    """The beginning of it, as JSON."""
    try:
        return json.dumps(value)[:40]
    except RecursionError:
        return "nested deep"


def texts_of(value: Any, where: str, depth: int = 0) -> list[str]:
    """A caption, a list of them, or of objects that have one each."""
    if isinstance(value, list) and depth < DEEPEST:
        return [text for item in value for text in texts_of(item, where, depth + 1)]
    if isinstance(value, dict) and depth < DEEPEST:
        inner = next((value[key] for key in ("raw", *CAPTION) if key in value), None)
        if isinstance(inner, (str, list)):
            return texts_of(inner, where, depth + 1)
    if not isinstance(value, str):
        raise SourceError(f"{where}: a caption is {shown(value)}, expected text")
    return [value]


# --- with delimiters -------------------------------------------------------------------------------


def parse(path: Path, text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The line at which each row begins, and its fields; empty rows are passed over."""
    csv.field_size_limit(LONGEST_FIELD)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    # The text's own "\n" alone end lines, as everywhere: a "\r" in the middle is part of a field.
    rows = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{path}:{line}: a row that cannot be read as a table ({error}), expected fields "
                              f"parted by a {DELIMITERS[delimiter]}, with quotes doubled inside quotes") from None
        if any(field.strip() for field in row):
            yield line, row
        line = rows.line_num + 1


def are_numbers(wanted: list[str] | None) -> bool:
    """Whether these are columns' numbers, of which a table is not asked for its header."""
    if not wanted or not wanted[0].isdecimal():
        return False
    if not all(re.fullmatch("[1-9][0-9]{0,5}", number) for number in wanted):
        raise SourceError(f"--columns {','.join(wanted)}: expected names, or numbers from 1 on")
    return True


def find_delimiter(path: Path, text: str, wanted: list[str] | None) -> str:
    """The one by which the first line has the columns looked for."""
    head = text.lstrip("\n").partition("\n")[0]
    of_ending = {".tsv": "\t", ".tab": "\t", ".csv": ","}.get(path.suffix.lower())
    order = sorted(DELIMITERS, key=lambda one: (one != of_ending, -head.count(one)))
    for delimiter in order:
        if wanted and are_numbers(wanted):
            if head.count(delimiter) >= max(map(int, wanted)) - 1:
                return delimiter
        elif find_columns(head.replace('"', "").split(delimiter), wanted):
            return delimiter
    names = ", ".join(f"'{name.strip()}'" for name in head.split(order[0]))[:200]
    expected = " and ".join(f"'{name}'" for name in wanted) if wanted else "one of pictures (picture, image, file_name," \
        " path, ...) and one of captions (caption, text, sentence, ...)"
    raise SourceError(f"{path}:1: the columns are {names}, expected {expected}; --columns PICTURE,CAPTION[,SPLIT] "
                      "says which, by name or, of a table without a header, by number")


def has_quotes(path: Path, text: str, delimiter: str) -> bool:
    """Whether quotes are around fields. Tables with tabs and bars are often written without, and quotes are text."""
    if delimiter in ",;":
        return True
    try:
        widths = {len(row) for _, row in parse(path, text, delimiter, quoted=True)}
    except SourceError:
        return False
    return len(widths) == 1


def numbered_columns(wanted: list[str]) -> Columns:
    places = [int(number) - 1 for number in wanted]
    return Columns(places[0], [places[1]], places[2] if len(places) > 2 else None)


def read_table(path: Path, folders: list[Path], wanted: list[str] | None) -> Iterator[Entry]:
    text = text_file.read(path)
    if not text.strip():
        raise SourceError(f"{path}: empty, expected a table of pictures and captions")
    delimiter = find_delimiter(path, text, wanted)
    rows = parse(path, text, delimiter, has_quotes(path, text, delimiter))
    if wanted and are_numbers(wanted):
        columns: Columns | None = numbered_columns(wanted)
        width = None
    else:
        _, header = next(rows)
        columns, width = find_columns(header, wanted), len(header)
        if not columns:
            raise SourceError(f"{path}:1: a header that cannot be read as fields parted by a {DELIMITERS[delimiter]}")
    for line, row in rows:
        width = width or max(len(row), *map(int, wanted or ["0"]))
        if len(row) != width:
            raise SourceError(f"{path}:{line}: {len(row)} fields, expected {width} as in the first line, parted by a "
                              f"{DELIMITERS[delimiter]}")
        yield entry_of_row(row, columns, folders, f"{path}:{line}")


def entry_of_row(row: list[str], columns: Columns, folders: list[Path], where: str) -> Entry:
    picture = row[columns.picture].strip()
    if not picture:
        raise SourceError(f"{where}: no picture, expected its name")
    captions = [text for place in columns.captions for text in cell_texts(row[place], where)]
    if len(columns.captions) > 1:  # caption_1, caption_2, ...: a picture with fewer has empty cells
        captions = [text for text in captions if text.strip()]
    split = row[columns.split].strip() if columns.split is not None else ""
    return Entry(picture, captions, split, where, folders)


def cell_texts(cell: str, where: str) -> list[str]:
    """A caption, or a JSON array of them in one cell."""
    if cell.startswith('["') and cell.endswith("]"):
        try:
            return texts_of(json.loads(cell), where)
        except (ValueError, RecursionError):
            pass
    return [cell]


# --- JSON ------------------------------------------------------------------------------------------


def entry_of_object(value: Any, folders: list[Path], wanted: list[str] | None, where: str) -> Entry:
    if not isinstance(value, dict):
        raise SourceError(f"{where}: {shown(value)}, expected an object with a picture and a caption")
    keys = list(value)
    columns = find_columns(keys, wanted)
    if not columns:
        raise SourceError(f"{where}: keys {', '.join(keys)[:100] or 'none'}, expected a picture (picture, image, "
                          "file_name, path, ...) and a caption (caption, captions, text, ...)")
    picture = value[keys[columns.picture]]
    if not isinstance(picture, str) or not picture.strip():
        raise SourceError(f"{where}: '{keys[columns.picture]}' is {shown(picture)}, expected a picture's name")
    captions = [text for place in columns.captions for text in texts_of(value[keys[place]], where)]
    split = value[keys[columns.split]] if columns.split is not None else ""
    if not isinstance(split, str):
        raise SourceError(f"{where}: '{keys[columns.split]}' is {shown(split)}, expected a split's name")
    return Entry(picture, captions, split.strip(), where, folders)


def read_json_lines(path: Path, folders: list[Path], wanted: list[str] | None) -> Iterator[Entry]:
    for number, line in enumerate(text_file.lines(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"{path}:{number}: not JSON ({error.msg} at character {error.colno}), expected one "
                              "object a line") from None
        except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
            raise SourceError(f"{path}:{number}: JSON that cannot be read ({error})") from None
        yield entry_of_object(value, folders, wanted, f"{path}:{number}")


def read_json_array(path: Path, values: list[Any], folders: list[Path], wanted: list[str] | None) -> Iterator[Entry]:
    for number, value in enumerate(values, start=1):
        yield entry_of_object(value, folders, wanted, f"{path}: object {number}")
