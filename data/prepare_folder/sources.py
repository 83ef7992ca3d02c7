# SPDX-License-Identifier: Apache-2.0
"""Which kind of file or folder is given: told by what is in it, then read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import text_file
import wrong_file
from prepare_folder import Entry, SourceError, folders, published, tables
from prepare_folder.problems import Problems

# What splits are called elsewhere.
OTHER_NAMES = {"training": "train", "val": "dev", "valid": "dev", "validation": "dev", "eval": "test",
               "testing": "test"}
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass
class Reading:
    """How sources are read."""

    pictures: Path | None = None  # where pictures lie; None: beside the source
    columns: list[str] | None = None
    restval: str = "train"


@dataclass
class Source:
    path: Path
    split: str  # of all that is in it; empty: as it says itself


def split_called(name: str, where: str) -> str:
    """The split's name here."""
    lower = OTHER_NAMES.get(name.lower(), name.lower() if name.lower() in ("train", "dev", "test") else name)
    if lower and not SPLIT_NAME.fullmatch(lower):
        raise SourceError(f"{where}: split '{name[:40]}', expected a name of letters, digits, - and _, such as train, dev, "
                          "test")
    return lower


def named(text: str) -> Source:
    """Of the command line: PATH, or SPLIT=PATH."""
    split, equals, rest = text.partition("=")
    if equals and not Path(text).exists() and SPLIT_NAME.fullmatch(split):
        return Source(Path(rest), split_called(split, text))
    return Source(Path(text), "")


def read(source: Source, reading: Reading, problems: Problems) -> Iterator[Entry]:
    """Everything in a source, in its order."""
    if not source.path.exists():
        raise SourceError(f"{source.path}: no such file or folder, expected pictures with captions")
    if reading.pictures and not reading.pictures.is_dir():
        raise SourceError(f"{reading.pictures}: no such folder, expected that of the pictures (--pictures)")
    empty = True
    for entry in read_kind(source.path, reading, problems):
        empty = False
        entry.split = source.split or split_called(entry.split, entry.where)
        yield entry
    if empty:
        raise SourceError(f"{source.path}: no pictures and captions in it, expected some")


def read_kind(path: Path, reading: Reading, problems: Problems) -> Iterator[Entry]:
    if path.is_dir():
        if folders.is_data_folder(path):
            return folders.read_data_folder(path)
        return folders.read_beside(path, {"train", "dev", "test", *OTHER_NAMES}, problems)
    if not path.is_file():
        raise SourceError(f"{path}: no file or folder, but a pipe or a device, expected one that can be read twice")
    kind = wrong_file.kind(path)
    if kind:
        raise SourceError(f"{path}: {kind}, expected a table, JSON or a folder of pictures with captions")
    places = [reading.pictures] if reading.pictures else [path.parent]
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return tables.read_json_lines(path, places, reading.columns)
    head = first_line(path)
    if path.suffix.lower() == ".json" or head.lstrip().startswith(("{", "[")):
        return read_json(path, places, reading)
    if published.is_flickr_table(head):
        return published.read_flickr_table(path, places, problems)
    if published.is_token_file(head) and not reading.columns:
        return published.read_token_file(path, places)
    return tables.read_table(path, places, reading.columns)


def first_line(path: Path) -> str:
    """As far as it says what the file is; what is no text in it is told when the file is read."""
    with open(path, "rb") as file:
        data = text_file.without_mark(path, file.readline(1 << 16))
    return data.decode("utf-8", "replace").rstrip("\r\n")


def read_json(path: Path, places: list[Path], reading: Reading) -> Iterator[Entry]:
    text = text_file.read(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # a second object after the first: one a line
            return tables.read_json_lines(path, places, reading.columns)
        raise SourceError(f"{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno})") from None
    except (RecursionError, ValueError) as error:  # nested too deep; a number of thousands of digits
        raise SourceError(f"{path}: JSON that cannot be read ({error})") from None
    if published.is_karpathy(value):
        return published.read_karpathy(path, value, places, reading.restval)
    if published.is_coco(value):
        return published.read_coco(path, value, places)
    if isinstance(value, list):
        return tables.read_json_array(path, value, places, reading.columns)
    if isinstance(value, dict) and text.count("\n") <= 1:
        return tables.read_json_lines(path, places, reading.columns)
    raise SourceError(f"{path}: JSON of another kind, expected Karpathy's (images[].sentences), COCO's (images, "
                      "annotations), an array of objects, or one object a line")
