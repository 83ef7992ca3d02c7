# SPDX-License-Identifier: Apache-2.0
"""Drawings (SVG) as pictures, by librsvg's rsvg-convert."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import memory
from prepare_folder import SourceError

PROGRAM, PACKAGE = "rsvg-convert", "librsvg2-bin"
NO_MEMORY = re.compile("failed to map segment|allocat", re.IGNORECASE)  # what its loader, its libraries and Rust say
SECONDS = 20.0  # for one drawing; few take more than one


def need_program() -> None:
    if not shutil.which(PROGRAM):
        raise SourceError(f"{PROGRAM}: not found: install the Debian package {PACKAGE}")


def render(drawing: Path, picture: Path, side: int) -> str | None:
    """A PNG on white whose longer side is `side`; or why there is none."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    command = [PROGRAM, "--keep-aspect-ratio", "--width", str(side), "--height", str(side),
               "--background-color", "white", "--output", picture, drawing]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        reason = f"not drawn in {SECONDS:.0f} seconds"
    else:
        if done.returncode == 0 and picture.is_file():
            return None
        if NO_MEMORY.search(done.stderr.decode(errors="replace")):
            raise MemoryError
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["not drawn"])[-1][:200]
    picture.unlink(missing_ok=True)
    return reason


def render_all(drawings: dict[Path, Path], side: int) -> dict[Path, str]:
    """Drawing by drawing to its picture, on all cores; why there is none of those that could not be drawn."""
    if drawings:
        need_program()
    reasons = memory.in_threads(lambda pair: render(*pair, side) or "", list(drawings.items()))
    return {drawing: reason for drawing, reason in zip(drawings, reasons) if reason}
