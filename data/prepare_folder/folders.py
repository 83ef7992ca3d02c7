# SPDX-License-Identifier: Apache-2.0
"""Folders: pictures with a text file beside each, and data folders that were prepared before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import text_file
from prepare_folder import Entry, SourceError
from prepare_folder.problems import Problems

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
SUFFIX = "_pictures.txt"
MARK = "prepared.json"  # of a data folder that was prepared


def is_data_folder(folder: Path) -> bool:
    return any(folder.glob("*" + SUFFIX))


def walk(folder: Path) -> Iterator[Path]:
    """Every file below, in the order of names; not what begins with a dot, nor data folders."""
    for here, inside, names in os.walk(folder):
        if MARK in names:
            inside.clear()
            continue
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        yield from (Path(here) / name for name in sorted(names) if not name.startswith("."))


def read_beside(folder: Path, split_names: set[str], problems: Problems) -> Iterator[Entry]:
    """Each line of a text file is a caption of the picture of the same name. Folders at the top that have
    splits' names say the split."""
    files = list(walk(folder))
    pictures = [path for path in files if path.suffix.lower() in PICTURE_ENDINGS]
    if not pictures:
        raise SourceError(f"{folder}: no pictures ({', '.join(PICTURE_ENDINGS)}) in this folder or below, expected some "
                          "with a .txt of captions beside each")
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    if not texts:
        raise SourceError(f"{folder}: {len(pictures)} pictures and no .txt beside any, expected a .txt of captions beside "
                          "each; give the table of captions itself if there is one")
    tops = {path.relative_to(folder).parts[0] for path in pictures if path.parent != folder}
    by_split = bool(tops) and tops <= split_names and all(path.parent != folder for path in pictures)
    captioned = set()
    for path in pictures:
        name = path.relative_to(folder)
        text = texts.get(path.with_suffix(""))
        split = name.parts[0] if by_split else ""
        yield Entry(name.as_posix(), [], split, str(text or path), [folder])
        for number, line in enumerate(text_file.lines(text) if text else [], start=1):
            if line.strip():
                yield Entry(name.as_posix(), [line], split, f"{text}:{number}", [folder])
        captioned.add(text)
    for text in texts.values():
        if text not in captioned:
            problems.add("stray", str(text), "no picture of this name beside it")


def read_data_folder(folder: Path) -> Iterator[Entry]:
    """{split}_pictures.txt, _caps.txt, _ids.txt."""
    for listing in sorted(folder.glob("*" + SUFFIX)):
        split = listing.name.removesuffix(SUFFIX)
        names = text_file.lines(listing)
        caps, ids = folder / f"{split}_caps.txt", folder / f"{split}_ids.txt"
        captions: list[list[str]] = [[] for _ in names]
        if caps.exists():
            texts = text_file.lines(caps)
            each = max(1, len(texts) // max(1, len(names)))
            rows = text_file.image_rows(ids) if ids.exists() else [i // each for i in range(len(texts))]
            if len(texts) != len(rows):
                raise SourceError(f"{caps}: {len(texts)} captions, expected {len(rows)}, as many as lines of {ids.name}")
            for number, (text, row) in enumerate(zip(texts, rows), start=1):
                if not 0 <= row < len(names):
                    raise SourceError(f"{ids}:{number}: image {row}, expected 0 to {len(names) - 1}")
                captions[row].append(text)
        for number, name in enumerate(names, start=1):
            yield Entry(name, captions[number - 1], split, f"{listing}:{number}", [folder])
