# SPDX-License-Identifier: Apache-2.0
"""Writing the data folder: features, captions, image numbers, names, thumbnails, sources."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from emoji_prep.cldr import CLDR_PACKAGE, Emoji
from emoji_prep.pictures import BINS, FONT_PACKAGE
from fresh_folder import write_lines

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


def write_pictures(folder: Path, name: str, images: list[Image.Image]) -> None:
    """What `train` reads for a model that begins with pixels, as data/prepare leaves it."""
    names = [f"pictures/{name}/{row:04d}.png" for row in range(len(images))]
    (folder / "pictures" / name).mkdir(parents=True)
    for path, image in zip(names, images):
        image.save(folder / path)
    write_lines(folder / f"{name}_pictures.txt", names)


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
