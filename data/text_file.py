# SPDX-License-Identifier: Apache-2.0
"""Text files: every one that a script reads is decoded and split into lines here, as `train` does
(train/data/text.h).

A file is UTF-8; a byte order mark at its beginning is none of its text. Lines end with "\\n" or "\\r\\n" and
with nothing else, the last one need not end, and a line is as long as it is. A NUL byte, UTF-16 and invalid
UTF-8 are errors that name file and line, in `train`'s words.
"""

from __future__ import annotations

import re
from pathlib import Path

MARK = b"\xef\xbb\xbf"


class TextError(Exception):
    """What is wrong with a file, in one line that names it and the line."""


def without_mark(path: Path, data: bytes) -> bytes:
    """A file's bytes, or its first ones, from where its text begins."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TextError(f"{path}:1: UTF-16, expected UTF-8 text")
    return data.removeprefix(MARK)


def decode(path: Path, data: bytes) -> str:
    """The text of such bytes; "\\r\\n" is still in it."""
    nul = data.find(b"\0")
    if nul >= 0:
        raise TextError(f"{path}:{data.count(10, 0, nul) + 1}: a NUL byte, expected text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, begin = data.count(10, 0, error.start) + 1, data.rfind(b"\n", 0, error.start) + 1
        raise TextError(f"{path}:{line}: invalid UTF-8 at byte {error.start - begin + 1}") from None


def read(path: Path) -> str:
    """All of a file, its lines ended by "\\n"."""
    return decode(path, without_mark(path, path.read_bytes())).replace("\r\n", "\n")


def lines(path: Path) -> list[str]:
    """Its lines, without their ends. (str.splitlines would end lines at a dozen other characters, too.)"""
    found = decode(path, without_mark(path, path.read_bytes())).split("\n")
    if not found[-1]:
        found.pop()
    return [line.removesuffix("\r") for line in found]


def image_rows(path: Path) -> list[int]:
    """Of a {split}_ids.txt: a whole number a line, of no more digits than Python reads."""
    rows = []
    for number, line in enumerate(lines(path), start=1):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,4000}[ \t]*", line):
            raise TextError(f"{path}:{number}: '{line[:40]}', expected the number of an image")
        rows.append(int(line))
    return rows
