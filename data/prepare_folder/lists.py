# SPDX-License-Identifier: Apache-2.0
"""Splits that come as lists of pictures, a file for each split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import text_file
from prepare_folder import Entry, SourceError
from prepare_folder.problems import Problems
from prepare_folder.sources import named


def read(files: list[str]) -> dict[str, str]:
    """The split of each picture's name, with and without its ending."""
    split_of: dict[str, str] = {}
    place: dict[str, str] = {}
    for text in files:
        source = named(text)
        if not source.split:
            raise SourceError(f"--lists {text}: expected SPLIT=FILE, such as train=train_images.txt")
        for number, line in enumerate(text_file.lines(source.path), start=1):
            name, where = line.strip(), f"{source.path}:{number}"
            if split_of.get(name, source.split) != source.split:
                raise SourceError(f"{where}: {name} is in {source.split} here and in {split_of[name]} in {place[name]}")
            if name:
                split_of[name], place[name] = source.split, where
    return split_of


def assign(entries: Iterable[Entry], split_of: dict[str, str], problems: Problems) -> Iterator[Entry]:
    """By the picture's name as it stands, without its folder, or without its ending too."""
    told = set()
    for entry in entries:
        path = Path(entry.picture)
        keys = (entry.picture, path.name, path.stem)
        entry.split = next((split_of[key] for key in keys if key in split_of), "")
        if entry.split:
            yield entry
        elif entry.picture not in told:
            told.add(entry.picture)
            problems.add("unlisted", entry.where, entry.picture)
