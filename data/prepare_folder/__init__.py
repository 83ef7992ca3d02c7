# SPDX-License-Identifier: Apache-2.0
"""From pictures and sentences as people have them to a data folder that `train` reads.

sources    tells which kind of file or folder is given, and reads it
tables     CSV, TSV, JSON lines, JSON arrays
published  Karpathy's and COCO's JSON, Flickr's captions
folders    a text file beside each picture; folders that were prepared before
images     finds the pictures, and brings captions together by picture
headers    what a picture file is, and which are the same
splits     draws which picture is for training and which for a test
problems   what is wrong, where, and whether it is an error
report     what there is, in a few lines
output     writes the data folder
whole      all of it, one after the other

lists      splits that are files of names
drawings   SVG to PNG, for data/prepare_stamps.py and data/prepare_clipart.py
clipart    what the drawings of the latter are called
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


class SourceError(Exception):
    """Why a source cannot be read at all, in one line that names file and line."""


def is_line(text: str) -> bool:
    """Whether it can be a line of a file in UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not any(char in text for char in "\n\r\0")


@dataclass
class Entry:
    """A picture with captions, as a source says it."""

    picture: str  # its name there
    captions: list[str]
    split: str  # empty: none is said
    where: str  # "FILE:LINE", or what stands for it
    folders: list[Path]  # in which the picture is looked for, one after the other


@dataclass
class Caption:
    text: str
    where: str


@dataclass
class Image:
    """A picture and all of its captions."""

    path: Path
    name: str  # what its split is drawn by
    split: str
    where: str  # the first place that names it
    captions: list[Caption] = field(default_factory=list)
    kind: str = ""  # JPEG, PNG, WEBP
    size: tuple[int, int] = (0, 0)
