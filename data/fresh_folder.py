# SPDX-License-Identifier: Apache-2.0
"""A folder that is made beside its place and takes it when all went well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


SPARE = 1 << 20  # bytes, let go before it is tidied up, for which there may be no others


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
    former = f".{out.name}.old"
    left = [path for path in out.parent.iterdir() if path.name.startswith(former)] if out.parent.is_dir() else []
    if left:
        raise FolderError(f"{left[0]} has what was in {out} when an earlier run was ended: move what is missing there "
                          "back, and delete it")
    fresh = out.with_name(f".{out.name}.new{os.getpid()}")
    fresh.mkdir(parents=True)
    spare = bytearray(SPARE)
    try:
        yield fresh
        take_place(fresh, out, out.with_name(f"{former}{os.getpid()}"), ours)
    finally:
        del spare
        shutil.rmtree(fresh, ignore_errors=True)


def take_place(fresh: Path, out: Path, stale: Path, ours: set[str] | None) -> None:
    """All of it or, where a step fails, nothing: what cannot be taken back stays in `stale`, and is said."""
    done = []
    spare = bytearray(SPARE)

    def move(path: Path, to: Path) -> None:
        path.rename(to)
        done.append((path, to))

    try:
        if out.is_dir():
            move(out, stale)
        move(fresh, out)
        for path in sorted(stale.iterdir()) if ours is not None and stale.is_dir() else []:
            if path.name not in ours and not (out / path.name).exists():
                move(path, out / path.name)
    except BaseException as problem:
        del spare
        try:
            for path, to in reversed(done):
                to.rename(path)
        except OSError:
            raise FolderError(f"{problem}; what was in {out} is in {stale}") from problem
        raise
    shutil.rmtree(stale, ignore_errors=True)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
