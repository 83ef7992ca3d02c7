#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records pooling, batchnorm2d and transformer.safetensors: what PyTorch's (and timm's) own modules compute in float64.

    python3 tests/golden/record_layers.py [NAME...]

Needs torch, timm, numpy and safetensors. README.md has the format.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from record_backbones import numbers
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
Tensors = dict[str, np.ndarray]


def drawn(name: str, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(scale * numbers(name, int(np.prod(shape)))).reshape(shape)


def leaf(name: str, *shape: int) -> torch.Tensor:
    return drawn(name, *shape).requires_grad_()


def note(out: Tensors, prefix: str, x: torch.Tensor, y: torch.Tensor, cotangent: str = "") -> None:
    """Output, and the gradient of the sum of y times a cotangent, which has the output's prefix or the one given."""
    weights = drawn(cotangent + "cotangent" if cotangent else prefix + "cotangent", *y.shape)
    x.grad = None
    (y * weights).sum().backward()
    out[(cotangent or prefix) + "in.cotangent"] = weights.numpy()
    out[prefix + "out.y"] = y.detach().numpy()
    out[prefix + "grad.in.x"] = x.grad.numpy()


def fill(out: Tensors, prefix: str, net: torch.nn.Module) -> None:
    """Parameters and buffers drawn by name, norms' weights and variances around 1."""
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            around = 1 if name.endswith("var") or "norm" in name and name.endswith("weight") else 0
            if tensor.is_floating_point():
                tensor.copy_(around + drawn(name, *tensor.shape, scale=0.5))
            out[f"{prefix}{'param' if name in parameters else 'buffer'}.{name}"] = tensor.numpy().copy()


def note_gradients(out: Tensors, prefix: str, net: torch.nn.Module) -> None:
    for name, parameter in net.named_parameters():
        out[f"{prefix}grad.param.{name}"] = parameter.grad.numpy().copy()


def pooling() -> tuple[Tensors, str]:
    x = leaf("pooling", 2, 2, 6, 7)
    out = {"in.x": x.detach().numpy()}
    for kernel, stride, padding, dilation, up in [(2, 2, 0, 1, 0), (3, 2, 1, 1, 0), (3, 2, 1, 1, 1), (2, 3, 1, 2, 1)]:
        name = f"{kernel}{stride}{padding}{dilation}{up}"
        note(out, f"max{name}.", x, F.max_pool2d(x, kernel, stride, padding, dilation, bool(up)))
        if dilation == 1:
            for count in (False, True):
                y = F.avg_pool2d(x, kernel, stride, padding, bool(up), count)
                note(out, f"avg{name}{int(count)}.", x, y)
    for rows, columns in [(1, 1), (4, 3), (7, 9)]:
        note(out, f"adaptive{rows}{columns}.", x, F.adaptive_avg_pool2d(x, (rows, columns)))
    return out, "max_pool2d, avg_pool2d, adaptive_avg_pool2d; digits: kernel, stride, padding, dilation, ceil_mode, " \
                "count_include_pad; or rows, columns"


def batchnorm2d() -> tuple[Tensors, str]:
    x = leaf("batchnorm2d", 2, 5, 3, 4)
    out = {"bchw.in.x": x.detach().numpy()}
    for mode, momentum in [("m0.1", 0.1), ("m0.01", 0.01), ("eval", 0.1)]:
        norm = torch.nn.BatchNorm2d(5, momentum=momentum).double()
        fill(out, "bchw.", norm)
        norm.train(mode != "eval")
        note(out, f"bchw.{mode}.", x, norm(x), "bchw.")
        note_gradients(out, f"bchw.{mode}.", norm)
        for name, tensor in norm.named_buffers():
            if mode != "eval":
                out[f"bchw.{mode}.buffer_after.{name}"] = tensor.numpy().copy()
    return out, "BatchNorm2d, training with two momenta, and evaluation"


def transformer() -> tuple[Tensors, str]:
    from timm.layers import PatchEmbed

    x = leaf("transformer", 2, 5, 8)
    padding = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.bool)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    out = {"in.x": x.detach().numpy(), "in.padding": padding.numpy().astype(np.int64)}
    for mode, activation, norm_first in [("post", "relu", False), ("pre", "gelu", True), ("causal", "gelu", True)]:
        layer = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation, batch_first=True, norm_first=norm_first,
                                                 dtype=torch.float64)
        fill(out, "", layer)
        layer.eval()
        masks = {"src_mask": later} if mode == "causal" else {"src_key_padding_mask": padding}
        note(out, f"{mode}.", x, layer(x, **masks))
        note_gradients(out, f"{mode}.", layer)
    patches = PatchEmbed(img_size=(4, 6), patch_size=2, in_chans=3, embed_dim=5).double()
    fill(out, "patches.", patches)
    pictures = leaf("patches", 2, 3, 4, 6)
    out["patches.in.x"] = pictures.detach().numpy()
    note(out, "patches.", pictures, patches(pictures))
    note_gradients(out, "patches.", patches)
    return out, "TransformerEncoderLayer(8, 2, 12): norms after (relu) and before (gelu), padding or a causal mask; " \
                "timm's PatchEmbed"


if __name__ == "__main__":
    for case in sys.argv[1:] or ["pooling", "batchnorm2d", "transformer"]:
        tensors, text = globals()[case]()
        path = HERE / f"{case}.safetensors"
        save_file({key: np.ascontiguousarray(x) for key, x in tensors.items()}, path,
                  {"case": text, "torch": torch.__version__})
        path.chmod(0o644)
        print(f"{path}: {path.stat().st_size} bytes, {len(tensors)} tensors")
