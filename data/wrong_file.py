# SPDX-License-Identifier: Apache-2.0
"""Names the files that are often given in place of others, by their first bytes."""

from __future__ import annotations

from pathlib import Path

# What a file begins with, and what it is; the same as in tensor/io/kind.c.
BEGINNINGS = ((b"\x1f\x8b", "gzip, expected what is in it: gunzip it"),
              (b"PK\x03\x04", "a zip archive (torch.save, .npz and data sets come in such)"),
              (b"BZh", "bzip2, expected what is in it: bunzip2 it"),
              (b"\xfd7zXZ\x00", "xz, expected what is in it: unxz it"),
              (b"\x93NUMPY", "a NumPy array (.npy)"),
              (b"\x89HDF\r\n\x1a\n", "HDF5"),
              (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
              (b"\xff\xd8\xff", "a picture (JPEG)"),
              (b"%PDF-", "PDF"),
              (b"<!DOCTYPE", "a web page, perhaps of a download that failed"),
              (b"<html", "a web page, perhaps of a download that failed"),
              (b"version https://git-lfs", "a pointer of Git LFS: git lfs pull fetches the file"))


def kind(path: Path) -> str | None:
    """What a file is, if it is one of those, or a pickle."""
    with open(path, "rb") as file:
        head = file.read(64)
    for beginning, name in BEGINNINGS:
        if head.startswith(beginning):
            return name
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return "a Python pickle"
    return None
