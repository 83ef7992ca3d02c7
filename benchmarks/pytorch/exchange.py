# SPDX-License-Identifier: Apache-2.0
"""Parameters and recorded steps in safetensors files, under the released code's names (docs/parity.md)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64}


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and metadata: eight bytes of length, a JSON header, then the data."""
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = data[8 + size + begin:8 + size + end]
        tensors[name] = torch.frombuffer(part, dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def released_name(name: str) -> str:
    """Of a parameter of either model; a policy's GRU is a cell there."""
    name = name.removeprefix("heads.")
    return name.removesuffix("_l0") if ".rl_rnn." in name else name


def load(model: nn.Module, tensors: Tensors) -> None:
    """From `param.NAME` and `buffer.NAME`; an error if one is missing."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors["param." + released_name(name)].reshape(parameter.shape))
        for name, buffer in model.named_buffers():
            buffer.copy_(tensors["buffer." + released_name(name)].reshape(buffer.shape))
