# SPDX-License-Identifier: Apache-2.0
"""Names the files that are often given in place of others, by their first bytes."""

from __future__ import annotations

import re
from pathlib import Path

# What a file begins with, and what it is; the same as in tensor/io/kind.c.
BEGINNINGS = ((b"\x1f\x8b", "gzip, expected what is in it: gunzip it"),
              (b"BZh91AY&", "bzip2, expected what is in it: bunzip2 it"),
              (b"\xfd7zXZ\x00", "xz, expected what is in it: unxz it"),
              (b"\x28\xb5\x2f\xfd", "zstd, expected what is in it: unzstd it"),
              (b"PK\x03\x04", "a zip archive (torch.save, .npz and data sets come in such)"),
              (b"\x93NUMPY", "a NumPy array (.npy)"),
              (b"\x89HDF\r\n\x1a\n", "HDF5: h5py reads it"),
              (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
              (b"\xff\xd8\xff", "a picture (JPEG)"),
              (b"GIF87a", "a picture (GIF)"),
              (b"GIF89a", "a picture (GIF)"),
              (b"%PDF-", "PDF"),
              (b"SQLite format 3\x00", "an SQLite database"),
              (b"\xba\x16\x4f\x2f", "word vectors in fastText's binary form (.bin): take the text form (.vec)"),
              (b"<!DOCTYPE", "a web page, perhaps of a download that failed"),
              (b"<html", "a web page, perhaps of a download that failed"),
              (b"version https://git-lfs", "a pointer of Git LFS: git lfs pull fetches the file"))


# The beginning of a pickle of Python 2's protocol 0: a dictionary, a list, an object.
PROTOCOL_0 = re.compile(rb"\(dp0\n|\(lp0\n|ccopy_reg\n|\(i[\w.]+\n\w+\n")


def kind(path: Path) -> str | None:
    """What a file is, if it is one of those, or a pickle."""
    with open(path, "rb") as file:
        head = file.read(512)
    for beginning, name in BEGINNINGS:
        if head.startswith(beginning):
            return name
    if (len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5) or PROTOCOL_0.match(head):
        return "a Python pickle"
    if head[5:9] == b"\x00\x00\x00{":
        return "a safetensors file"
    if head[257:262] == b"ustar":
        return "a tar archive: tar -xf unpacks it"
    return None
