#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records backbone_*.safetensors: what torchvision, efficientnet_lite_pytorch and timm compute in float64 with
weights that a formula gives, which the tests compute too, so that none has to be stored.

    python3 tests/golden/record_backbones.py [NAME...]

Needs torch, torchvision, timm, numpy, safetensors and the package efficientnet-lite-pytorch; no weights are downloaded.
README.md, "Backbones", has the formula and what is recorded.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
CLASSES, BATCH, HEIGHT, WIDTH, COLUMNS = 10, 2, 43, 64, 48


def numbers(name: str, count: int) -> np.ndarray:
    """Numbers of -1 to 1 for a name: FNV-1a of it, then SplitMix64; multiples of 2^-23."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What a tensor of a state dictionary holds."""
    u = numbers(name, math.prod(shape))
    if len(shape) > 1:
        x = u * math.sqrt(6.0 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        x = 1.0 + 0.5 * u
    elif name.endswith("weight"):
        x = 0.75 + 0.25 * u
    else:
        x = 0.125 * u
    return x.astype(np.float32).astype(np.float64).reshape(shape)


def fill(net: torch.nn.Module) -> None:
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(value(name, tuple(tensor.shape))))
            else:
                tensor.zero_()


def regions_of(feature_map: torch.Tensor) -> torch.Tensor:
    return feature_map.flatten(2).transpose(1, 2)


def resnet(layers: int) -> tuple[torch.nn.Module, list[str]]:
    import torchvision

    net = getattr(torchvision.models, f"resnet{layers}")(weights=None, num_classes=CLASSES)
    parts = list(net.children())[:-2]
    net.feature_map = lambda x: torch.nn.Sequential(*parts)(x)
    return net, ["conv1.weight", "bn1.bias", "layer4.1.conv2.weight", "fc.weight"]


def vgg19() -> tuple[torch.nn.Module, list[str]]:
    import torchvision

    net = torch.nn.Module()
    net.features = torchvision.models.vgg19(weights=None).features
    net.feature_map = lambda x: net.features(x)
    return net, ["features.0.weight", "features.34.bias"]


def efficientnet_lite0() -> tuple[torch.nn.Module, list[str]]:
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES, image_size=None, dropout_rate=0.0,
                                 drop_connect_rate=0.0)
    net.feature_map = net.extract_features
    return net, ["_conv_stem.weight", "_blocks.1._depthwise_conv.weight", "_conv_head.weight", "_fc.weight"]


def vit_tiny() -> tuple[torch.nn.Module, list[str]]:
    import timm

    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=CLASSES)
    net.feature_map = lambda x: net.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    return net, ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.11.mlp.fc1.bias",
                 "norm.weight", "head.weight"]


def vit_tiny_48x256() -> tuple[torch.nn.Module, list[str]]:
    """Of a grid of 3 by 16 patches, not 14 by 14: positions become fewer downwards, more sideways."""
    import timm

    torch.Tensor.float = torch.Tensor.double  # timm interpolates in float32 whatever it is given
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=CLASSES, dynamic_img_size=True)
    net.feature_map = lambda x: net.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (3, 16))
    return net, ["cls_token", "pos_embed", "patch_embed.proj.weight"]


NETS = {"resnet18": lambda: resnet(18), "resnet50": lambda: resnet(50), "vgg19": vgg19,
        "efficientnet_lite0": efficientnet_lite0, "vit_tiny": vit_tiny, "vit_tiny_48x256": vit_tiny_48x256}
SIZES = {"vit_tiny": (1, 224, 224), "vit_tiny_48x256": (1, 48, 256)}  # batch, height, width; others are of BATCH, HEIGHT, WIDTH


def first(x: torch.Tensor) -> np.ndarray:
    """The first numbers, and the mean square of all."""
    flat = x.detach().reshape(-1)
    return torch.cat([flat[:COLUMNS], flat.square().mean().reshape(1)]).numpy()


def record(name: str) -> None:
    net, gradients = NETS[name]()
    net.double()
    fill(net)
    batch, height, width = SIZES.get(name, (BATCH, HEIGHT, WIDTH))
    pictures = torch.from_numpy(2 * numbers("pictures", batch * 3 * height * width)).reshape(batch, 3, height, width)
    out: dict[str, np.ndarray] = {}
    modes = ("eval",) if name.startswith(("vgg", "vit")) else ("eval", "train")  # without batch norm there is no difference
    for mode in modes:
        net.train(mode == "train")
        fill(net)
        net.zero_grad()
        regions = regions_of(net.feature_map(pictures))
        out[f"{mode}.regions"] = regions.detach()[:, :, :COLUMNS].numpy()
        out[f"{mode}.region_squares"] = regions.detach().square().mean(2).numpy()
        logits = regions.mean(1)
        if name != "vgg19":  # its classifier is too large for a test
            fill(net)
            logits = net(pictures)
            out[f"{mode}.logits"] = logits.detach().numpy()
        if mode != modes[-1]:
            continue
        cotangent = torch.from_numpy(numbers("cotangent", logits.numel()).reshape(logits.shape))
        (logits * cotangent).sum().backward()
        parameters = dict(net.named_parameters())
        for parameter in gradients:
            out[f"{mode}.grad.{parameter}"] = first(parameters[parameter].grad)
    for buffer, tensor in net.named_buffers():
        if buffer.endswith(("running_mean", "running_var")) and ("1.running" in buffer or "0.running" in buffer):
            out[f"after.{buffer}"] = first(tensor)[-1:]
    path = HERE / f"backbone_{name}.safetensors"
    save_file({key: np.ascontiguousarray(x) for key, x in out.items()}, path,
              {"case": f"{name}, weights by formula, batch {batch} of {height}x{width}",
               "torch": torch.__version__, "classes": str(CLASSES if name != "vgg19" else 0)})
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size} bytes; mean squares of regions "
          f"{out['eval.region_squares'].min():.3g} to {out['eval.region_squares'].max():.3g}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    for case in sys.argv[1:] or NETS:
        record(case)
