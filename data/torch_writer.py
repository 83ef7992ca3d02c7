# SPDX-License-Identifier: Apache-2.0
"""For tests: files as torch.save writes them, made without PyTorch, in both its forms."""

from __future__ import annotations

import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from torch_file import MAGIC, PROTOCOL, STORAGES

KINDS = {np.dtype(form): kind for kind, (name, form) in STORAGES.items() if name != "BF16"}


@dataclass
class Strided:
    """A tensor on a storage that others may share; strides in elements. `kind`: of bits without a NumPy type."""

    base: np.ndarray[Any, Any]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    kind: str = ""


@dataclass
class StorageReference:
    base: np.ndarray[Any, Any]
    kind: str


def torch_modules() -> dict[str, types.ModuleType]:
    """As much of PyTorch as its pickles name."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    serialization = types.ModuleType("torch.serialization")
    torch._utils, torch.serialization = utils, serialization  # type: ignore[attr-defined]
    for kind in STORAGES:
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    for module, name in ((utils, "_rebuild_tensor_v2"), (utils, "_rebuild_sparse_tensor"),
                         (serialization, "_get_layout")):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = module.__name__, name
        setattr(module, name, function)
    return {"torch": torch, "torch._utils": utils, "torch.serialization": serialization}


class Sparse:
    """A tensor that is not dense."""


class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Arrays and Strided as tensors. python2: str as Python 2 wrote its byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, stream: Any, torch: dict[str, types.ModuleType], python2: bool) -> None:
        super().__init__(stream, 2)
        self.torch, self.python2 = torch, python2
        self.keys: dict[int, str] = {}
        self.bases: list[np.ndarray[Any, Any]] = []

    def save_text(self, text: str) -> None:
        if not self.python2:
            return pickle._Pickler.save_str(self, text)  # type: ignore[attr-defined,no-any-return]
        data = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, value: Any) -> Any:
        utils = self.torch["torch._utils"]
        if isinstance(value, Sparse):
            return utils._rebuild_sparse_tensor, (self.torch["torch.serialization"]._get_layout, ())
        if isinstance(value, np.ndarray):
            stride = tuple(step // value.itemsize for step in np.empty(value.shape, value.dtype).strides)
            value = Strided(np.ascontiguousarray(value).reshape(-1), 0, value.shape, stride)
        if not isinstance(value, Strided):
            return NotImplemented
        storage = StorageReference(value.base, value.kind or KINDS[value.base.dtype])
        return utils._rebuild_tensor_v2, (storage, value.offset, value.shape, value.stride, False, OrderedDict())

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, StorageReference):
            return None
        key = self.keys.setdefault(id(value.base), str(len(self.keys)))
        if int(key) == len(self.bases):
            self.bases.append(value.base)  # kept alive too, so that no other has its id
        common = ("storage", getattr(self.torch["torch"], value.kind), key, "cpu", len(value.base))
        return common if self.zip else (*common, None)

    zip = True


def save(value: Any, path: Path, older: bool = False, python2: bool = False) -> None:
    """older: the form before PyTorch 1.6."""
    torch = torch_modules()
    with mock.patch.dict(sys.modules, torch), open(path, "wb") as file:
        if older:
            for part in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}):
                pickle.dump(part, file, 2)
            pickler = Pickler(file, torch, python2)
            pickler.zip = False
            pickler.dump(value)
            pickle.dump([str(key) for key in range(len(pickler.bases))], file, 2)
            for base in pickler.bases:
                file.write(struct.pack("<q", len(base)) + base.tobytes())
            return
        with zipfile.ZipFile(file, "w") as archive:
            with archive.open("archive/data.pkl", "w") as stream:
                pickler = Pickler(stream, torch, python2)
                pickler.dump(value)
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
            for key, base in enumerate(pickler.bases):
                archive.writestr(f"archive/data/{key}", base.tobytes())
