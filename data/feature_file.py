# SPDX-License-Identifier: Apache-2.0
"""A features file, {split}_ims.npy, written row by row: any order, any size, little memory."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

import numpy as np

import fresh_file


class FeatureFile:
    """Rows of an open file; rows never written are zero and, where the file system can, take no space."""

    def __init__(self, stream: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        self.stream = stream
        self.start = stream.tell()
        self.shape = shape
        self.dtype = dtype
        self.row_bytes = shape[1] * shape[2] * dtype.itemsize
        stream.truncate(self.start + shape[0] * self.row_bytes)

    def write(self, row: int, features: np.ndarray) -> None:
        """Puts the features of one image, (regions, width), in its place."""
        if not 0 <= row < self.shape[0] or features.shape != self.shape[1:]:
            raise ValueError(f"row {row} of {features.shape} does not fit in {self.shape}")
        self.stream.seek(self.start + row * self.row_bytes)
        self.stream.write(np.ascontiguousarray(features, self.dtype).data)


@contextmanager
def create(path: Path, shape: tuple[int, int, int], dtype: str = "<f4") -> Iterator[FeatureFile]:
    """The file appears under `path` when the block ends well; an exception leaves nothing behind."""
    with fresh_file.replacing(path) as stream:
        yield FeatureFile(stream, shape, np.dtype(dtype))
