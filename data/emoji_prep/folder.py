# SPDX-License-Identifier: Apache-2.0
"""Writing the data folder: features, captions, image numbers, names, thumbnails, sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import numpy as np
from PIL import Image

from emoji_prep import PreparationError
from emoji_prep.cldr import CLDR_PACKAGE, Emoji
from emoji_prep.pictures import BINS, FONT_PACKAGE

SOURCES = "SOURCES.txt"

LICENCES = f"""Prepared from these Debian packages:

{{font}}
    Pictures: Noto Color Emoji, Copyright 2013 Google LLC, SIL Open Font License 1.1 (OFL-1.1).
    https://github.com/googlefonts/noto-emoji
    Full text: /usr/share/doc/{FONT_PACKAGE}/copyright
{{cldr}}
    Names and keywords: Unicode Common Locale Data Repository, Copyright 1991-2022 Unicode, Inc.,
    Unicode License Agreement - Data Files and Software 2016 (Unicode-DFS-2016).
    https://cldr.unicode.org
    Full text: /usr/share/doc/{CLDR_PACKAGE}/copyright
{{tools}}
    Drawn and computed with these.
"""


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when all went well.

    Whoever reads `out` sees the old folder or the whole new one. A folder that is not
    ours is never replaced.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise PreparationError(f"{out} exists and is not a folder: give another name")
    if out.is_dir() and any(out.iterdir()) and not (out / SOURCES).is_file():
        raise PreparationError(f"{out} holds other files (no {SOURCES}): give a new or empty folder")
    fresh = out.with_name(f".{out.name}.new{os.getpid()}")
    stale = out.with_name(f".{out.name}.old{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if out.is_dir():
            out.rename(stale)
        fresh.rename(out)
    finally:
        if stale.is_dir() and not out.exists():
            stale.rename(out)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")


def write_split(
    folder: Path,
    name: str,
    ims: np.ndarray,
    captions: list[list[str]],
    emoji: list[Emoji],
    thumbnails: list[Image.Image],
) -> None:
    """The files of one split; captions are grouped by image, in the order of the images."""
    np.save(folder / f"{name}_ims.npy", ims)
    write_lines(folder / f"{name}_caps.txt", [caption for group in captions for caption in group])
    write_lines(folder / f"{name}_ids.txt", [str(row) for row, group in enumerate(captions) for _ in group])
    write_lines(folder / f"{name}_names.txt", [f"{one.text}\t{one.name}" for one in emoji])
    thumbs = folder / "thumbs" / name
    thumbs.mkdir(parents=True)
    for row, image in enumerate(thumbnails):
        image.save(thumbs / f"{row:04d}.png")


def channel_names() -> list[str]:
    """What each of the 61 numbers of a region is."""
    places = [(row, column) for row in range(4) for column in range(4)]
    pixels = [f"pixel row {row} column {column} {colour}" for row, column in places for colour in "rgb"]
    gradients = [f"gradient {360 * number // BINS} degrees" for number in range(BINS)]
    return pixels + gradients + ["across", "down", "off middle across", "off middle down", "off centre"]


def write_statistics(folder: Path, mean: np.ndarray, deviation: np.ndarray) -> None:
    """What new pictures have to be standardised with."""
    content = {"channels": channel_names(), "mean": mean.tolist(), "std": deviation.tolist()}
    (folder / "stats.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def package_version(name: str) -> str:
    """The package with its installed version, as Debian knows it."""
    try:
        query = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return f"{name} (not installed as a Debian package)"
    return f"{name} {query.stdout.strip()}"


def write_sources(folder: Path, summary: list[str]) -> None:
    """Where the data comes from, under which licences, and how much of it there is."""
    text = LICENCES.format(
        font=package_version(FONT_PACKAGE),
        cldr=package_version(CLDR_PACKAGE),
        tools="\n".join(map(package_version, ["python3-pil", "libraqm0", "python3-numpy"])),
    )
    (folder / SOURCES).write_text(text + "\n" + "".join(line + "\n" for line in summary), encoding="utf-8")
