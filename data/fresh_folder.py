# SPDX-License-Identifier: Apache-2.0
"""A folder that is made beside its place and takes it when all went well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderError(Exception):
    """Why a folder is not written, in one line."""


@contextmanager
def replacing(out: Path, mark: str, ours: set[str] | None = None) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when all went well.

    Whoever reads `out` sees the old folder or the whole new one. A folder without the file `mark` is not
    ours, and never replaced. What the old one has beside `ours` (None: all is ours) moves to the new one.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FolderError(f"{out} exists and is not a folder: give another name")
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file():
        raise FolderError(f"{out} holds other files (no {mark}): give a new or empty folder")
    fresh = out.with_name(f".{out.name}.new{os.getpid()}")
    stale = out.with_name(f".{out.name}.old{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if out.is_dir():
            out.rename(stale)
        fresh.rename(out)
        if ours is not None and stale.is_dir():
            for path in stale.iterdir():
                if path.name not in ours and not (out / path.name).exists():
                    path.rename(out / path.name)
    finally:
        if stale.is_dir() and not out.exists():
            stale.rename(out)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
