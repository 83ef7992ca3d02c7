# SPDX-License-Identifier: Apache-2.0
"""Writing the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fresh_folder import FolderError, replacing, write_lines
from prepare_folder import Image, SourceError, is_line
from prepare_folder.folders import MARK
from prepare_folder.report import split_names



@contextmanager
def folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """The folder to write to; what else `out` has (a cache, word vectors) stays in it."""
    if (out / MARK).is_file() and not overwrite:
        raise FolderError(f"{out} has been prepared already: --overwrite replaces it")
    with replacing(Path(os.path.abspath(out)), MARK, files_of(out)) as fresh:
        yield fresh


def files_of(out: Path) -> set[str]:
    """What an earlier preparation wrote there."""
    try:
        return set(json.loads((out / MARK).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {MARK}


def picture_name(path: Path, out: Path, fresh: Path) -> str:
    """Relative to the data folder if it lies in it or beside it, so that both can be moved together."""
    if path.is_relative_to(fresh):
        return path.relative_to(fresh).as_posix()
    near = path.is_relative_to(out.parent)
    return os.path.relpath(path, out) if near else str(path)


def write(images: list[Image], out: Path, fresh: Path, about: dict[str, object]) -> None:
    out, fresh = Path(os.path.abspath(out)), Path(os.path.abspath(fresh))
    for split in split_names(images):
        chosen = [image for image in images if image.split == split]
        names = [picture_name(image.path, out, fresh) for image in chosen]
        for image, name in zip(chosen, names):
            if not is_line(name):
                raise SourceError(f"{image.where}: {name[:80]!r}, expected a picture's name in UTF-8 and in one line")
        write_lines(fresh / f"{split}_pictures.txt", names)
        write_lines(fresh / f"{split}_caps.txt", [caption.text for image in chosen for caption in image.captions])
        write_lines(fresh / f"{split}_ids.txt", [str(row) for row, image in enumerate(chosen) for _ in image.captions])
    about = {**about, "images": {split: sum(image.split == split for image in images) for split in split_names(images)}}
    about["files"] = sorted([MARK, *(path.name for path in fresh.iterdir())])
    (fresh / MARK).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
