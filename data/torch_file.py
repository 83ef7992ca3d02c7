# SPDX-License-Identifier: Apache-2.0
"""Reads what torch.save wrote, without PyTorch: the zip archive it has written since version 1.6, and the row
of pickles before. Of the tensors in it nothing but dense ones of plain numbers is known.

Unpickling can run code. Here only what a state dictionary and its options are made of is allowed, and none of it
runs anything; `trust` imports everything else that the file names.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Storage class: the name safetensors has for its numbers, and NumPy's (which lacks bfloat16: its bits).
STORAGES = {"DoubleStorage": ("F64", "<f8"), "FloatStorage": ("F32", "<f4"), "HalfStorage": ("F16", "<f2"),
            "BFloat16Storage": ("BF16", "<u2"), "LongStorage": ("I64", "<i8"), "IntStorage": ("I32", "<i4"),
            "ShortStorage": ("I16", "<i2"), "CharStorage": ("I8", "|i1"), "ByteStorage": ("U8", "|u1"),
            "BoolStorage": ("BOOL", "|b1")}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of the older form


class FileError(Exception):
    """What is wrong with a file, without its name."""


class UnknownObject(FileError):
    """The file names a class or function that is not allowed."""


@dataclass
class Storage:
    """The numbers below one or more tensors; filled in when the file comes to them."""

    kind: str
    data: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0))

    def fill(self, raw: bytes) -> None:
        self.data = np.frombuffer(raw, STORAGES[self.kind][1])


@dataclass
class Tensor:
    """A dense tensor on a storage, strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return STORAGES[self.storage.kind][0]

    def array(self) -> np.ndarray[Any, Any]:
        """Its elements in C order, a copy."""
        data = self.storage.data
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride))
        fits = len(self.shape) == len(self.stride) and min((0, self.offset, *self.shape, *self.stride)) == 0
        if not fits or (0 not in self.shape and last >= len(data)):
            raise FileError(f"a tensor {self.shape} lies outside its storage of {len(data)} numbers")
        if 0 in self.shape:
            return np.empty(0, data.dtype)
        strides = tuple(step * data.itemsize for step in self.stride)
        try:
            return np.lib.stride_tricks.as_strided(data[self.offset:], self.shape, strides).copy()
        except (ValueError, OverflowError, MemoryError):
            raise FileError(f"a tensor {str(self.shape)[:100]}, which is too large or has too many dimensions") from None

    def is_finite(self) -> bool:
        values = self.array()
        if self.dtype == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        return bool(np.isfinite(values).all())


class SparseTensor:
    """A tensor that is not dense: known, so that it can be named."""


def rebuild_tensor(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...],
                   *_: object) -> Tensor:
    if not isinstance(storage, Storage):
        raise FileError("a tensor without a storage")
    shape, stride = tuple(shape), tuple(stride)
    if not all(type(number) is int for number in (offset, *shape, *stride)):
        raise FileError(f"a tensor {str(shape)[:100]}, expected whole numbers")
    return Tensor(storage, offset, shape, stride)


def rebuild_parameter(data: Tensor, *_: object) -> Tensor:
    return data


def rebuild_scalar(dtype: np.dtype[Any], raw: bytes) -> Any:
    """A number of NumPy's."""
    if dtype.hasobject:
        raise FileError("a NumPy object")
    return np.frombuffer(raw, dtype)[0]


ALLOWED: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_sparse_tensor"): lambda *_: SparseTensor(),
    ("torch.serialization", "_get_layout"): str,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *parts: ":".join(map(str, parts)),
    ("collections", "OrderedDict"): OrderedDict,
    ("argparse", "Namespace"): argparse.Namespace,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): rebuild_scalar,
    ("numpy._core.multiarray", "scalar"): rebuild_scalar,
    ("_codecs", "encode"): lambda text, encoding="latin1": text.encode(encoding),
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


class Reader(pickle.Unpickler):
    """One pickle. `storage` gives the storage that a persistent id names."""

    def __init__(self, file: BinaryIO, trust: bool, storage: Callable[[tuple[Any, ...]], Storage]) -> None:
        super().__init__(file, encoding="latin1")  # of the strings of Python 2
        self.trust, self.storage = trust, storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda") and name in STORAGES:
            return name
        if re.fullmatch(r"numpy(\.dtypes)?", module) and re.fullmatch(r"\w+DType", name):
            return getattr(np.dtypes, name) if hasattr(np, "dtypes") else np.dtype
        found = ALLOWED.get((module, name))
        if found is None and not self.trust:
            raise UnknownObject(f"{module}.{name}")
        return super().find_class(module, name) if found is None else found

    def persistent_load(self, identity: Any) -> Storage:
        if not (isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage"
                and identity[1] in STORAGES):
            raise FileError(f"an unknown kind of storage, {str(identity)[:60]}")
        return self.storage(identity)


def read_zip(archive: zipfile.ZipFile, trust: bool) -> Any:
    pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise FileError("a zip archive that torch.save did not write")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise FileError("numbers in big-endian order")
    storages: dict[str, Storage] = {}

    def storage(identity: tuple[Any, ...]) -> Storage:
        kind, key = identity[1], str(identity[2])
        if key not in storages:
            storages[key] = Storage(kind)
            storages[key].fill(archive.read(f"{folder}data/{key}"))
        return storages[key]

    with archive.open(pickles[0]) as file:
        return Reader(file, trust, storage).load()  # type: ignore[arg-type]


def read_pickles(file: BinaryIO, trust: bool) -> Any:
    """Magic number, protocol, what machine; the object; the keys of its storages; each one's size and data."""
    storages: dict[str, Storage] = {}
    views: list[tuple[Storage, Storage, int, int]] = []

    def storage(identity: tuple[Any, ...]) -> Storage:
        kind, key, view = identity[1], str(identity[2]), identity[5] if len(identity) > 5 else None
        base = storages.setdefault(key, Storage(kind))
        if view is None:
            return base
        part = Storage(kind)
        views.append((part, base, int(view[1]), int(view[2])))
        return part

    def load() -> Any:
        return Reader(file, trust, storage).load()

    if load() != MAGIC or load() != PROTOCOL:
        raise FileError("not a file of torch.save, or damaged")
    if not load().get("little_endian", True):
        raise FileError("numbers in big-endian order")
    whole = load()
    for key in load():
        (count,) = struct.unpack("<q", file.read(8))
        bytes_each = np.dtype(STORAGES[storages[str(key)].kind][1]).itemsize
        raw = file.read(count * bytes_each) if count >= 0 else b""
        if len(raw) != count * bytes_each:
            raise FileError("cut short: not a file of torch.save, or damaged")
        storages[str(key)].fill(raw)
    for part, base, offset, size in views:
        part.data = base.data[offset:offset + size]
    return whole


def read(path: Path, trust: bool = False) -> Any:
    """The object in a file; its tensors are `Tensor`. A file that cannot be opened is an OSError, everything else
    FileError, or, for objects that are not allowed, UnknownObject."""
    with open(path, "rb") as file:
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    return read_zip(archive, trust)
            file.seek(0)
            return read_pickles(file, trust)
        except FileError:
            raise
        except MemoryError:
            raise FileError("what it says it holds takes more memory than there is: a damaged file, or one that is too "
                            "large") from None
        except ModuleNotFoundError as error:
            raise FileError(f"its objects need the module {error.name}, which is not here: put the code that saved "
                            "it on PYTHONPATH") from None
        except (pickle.UnpicklingError, EOFError, struct.error, zipfile.BadZipFile):
            raise FileError("not a file of torch.save, or damaged") from None
        except Exception as error:  # damaged pickles and the objects of trusted ones raise whatever they like
            text = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise FileError(f"cannot be read as a file of torch.save: {text}") from None
