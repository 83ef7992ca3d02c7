#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a released checkpoint, or the weights of a network for pictures, into safetensors.

    convert_checkpoint.py model_best.pth.tar model_best.safetensors       for train --init FILE
    convert_checkpoint.py resnet50-11ad3fa6.pth resnet50.safetensors      for backbone = ... weights=FILE

VSE++, SCAN, VSRN and DCPG save {'epoch', 'model', 'best_rsum', 'opt', 'Eiters'}, model being a list of
state dictionaries, [image encoder, text encoder]. Their tensors are written as img_enc.*, txt_enc.*;
a state dictionary with whole names (img_enc.*, caption_model.*, classifier1.* ...) is accepted too.
`module.` of DataParallel is removed. The options in `opt` and the numbers beside the model become
string metadata. Files of Python 2 are read (their strings as Latin-1).

torchvision's and timm's files are one state dictionary, by itself or under `state_dict` or `model`: its names, shapes
and types (f16, bf16, i64 ... too) stay as they are.

Reading a checkpoint means unpickling, which can run code. Here only tensors, plain values and
argparse.Namespace are allowed; --trust allows everything. Needs Debian's python3-numpy; PyTorch is not needed.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while weights were converted", pillow=False)
    import numpy as np

    import fresh_file
    import printing
    import torch_file
except ImportError as error:
    missing_package.stop(error)

ENCODERS = ("img_enc", "txt_enc")
# Names that tell the captioner of DCPG and VSRN when a list has it as a further part.
CAPTIONER = re.compile(r"(convs|emb_1|encoder|decoder|classifier_0)\.")


# Under which keys programs save the model beside other things.
MODEL_KEYS = ("model", "state_dict")


class ConversionError(Exception):
    """What is wrong, in one line."""


def load(path: Path, trust: bool) -> Any:
    """What torch.save wrote."""
    try:
        return torch_file.read(path, trust)
    except torch_file.UnknownObject as error:
        raise ConversionError(f"{path}: holds {error}, which is neither a tensor nor a plain value; "
                              "if you trust where the file is from, --trust reads it (and runs its code)") from None
    except torch_file.FileError as error:
        raise ConversionError(f"{path}: {error}") from None


def tensors_of(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, torch_file.Tensor]]:
    """Tensors of a state dictionary, or of a dictionary of such, under dotted names."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch_file.SparseTensor):
            raise ConversionError(f"model: {name} is not a dense tensor")
        if isinstance(value, torch_file.Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            yield from tensors_of(value, name + ".")
        else:
            raise ConversionError(f"model: {name} is a {type(value).__name__}, expected a tensor")


def part_names(parts: list[Mapping[str, Any]]) -> list[str]:
    """Prefixes of a list's parts: the two encoders, then what its tensors show it to be."""
    names = []
    for number, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise ConversionError(f"model: part {number + 1} is a {type(part).__name__}, expected a state dictionary")
        if number < len(ENCODERS):
            names.append(ENCODERS[number] + ".")
        elif all(re.match(r"(module\.)?(classifier|linear)\d", str(key)) for key in part):
            names.append("")
        elif any(CAPTIONER.match(str(key).removeprefix("module.")) for key in part):
            names.append("caption_model.")
        else:
            raise ConversionError(f"model: part {number + 1} is of no known kind (its first tensor: "
                                  f"{next(iter(part), 'none')}); name the parts with --parts")
    return names


def released_tensors(model: Any, parts: list[str] | None) -> dict[str, torch_file.Tensor]:
    """All tensors under the released names."""
    if isinstance(model, (list, tuple)):
        if parts is not None and len(parts) != len(model):
            raise ConversionError(f"--parts names {len(parts)} parts, the model has {len(model)}")
        prefixes = [f"{part}." for part in parts] if parts is not None else part_names(list(model))
        found = [item for part, prefix in zip(model, prefixes) for item in tensors_of(part, prefix)]
    elif isinstance(model, Mapping) and parts is None:
        found = list(tensors_of(model))
    else:
        kind = "--parts is for a list; the model" if parts is not None else "the model"
        raise ConversionError(f"{kind} is a {type(model).__name__}, expected state dictionaries")
    named: dict[str, torch_file.Tensor] = {}
    for name, tensor in found:
        clean = ".".join(word for word in name.split(".") if word != "module")
        if clean in named:
            raise ConversionError(f"model: two tensors are named {clean}")
        named[clean] = tensor
        if not is_text(clean):
            raise ConversionError(f"model: a tensor is named {clean!r}, expected text")
    if not named:
        raise ConversionError("the model has no tensors")
    if "__metadata__" in named:
        raise ConversionError("model: a tensor is named __metadata__, which is no name in a safetensors file")
    return named


def is_text(text: str) -> bool:
    """Whether there is UTF-8 for it, not so of half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def metadata_of(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """The options, then the numbers saved beside the model (which win), as strings."""
    options = checkpoint.get("opt", {})
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    options = options if isinstance(options, Mapping) else {}
    beside = {key: value for key, value in checkpoint.items() if key not in (*MODEL_KEYS, "opt")}
    plain = (str, int, float, bool, np.number, list, tuple, type(None))
    found = {}
    for key, value in {**options, **beside}.items():
        try:
            if isinstance(value, plain):
                found[str(key)] = str(value)
        except (ValueError, RecursionError):  # a number of thousands of digits, lists nested as deep: no options
            pass
    return {key: value.encode(errors="backslashreplace").decode() for key, value in found.items() if is_text(key)}


def safetensors(tensors: Mapping[str, torch_file.Tensor], metadata: dict[str, str]) -> Iterator[bytes]:
    """A safetensors file in pieces: the header's length, the header, the data; larger elements first, so that all
    are aligned."""
    names = sorted(tensors, key=lambda name: -tensors[name].storage.data.itemsize)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name in names:
        tensor = tensors[name]
        end = begin + math.prod(tensor.shape) * tensor.storage.data.itemsize
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in names:
        yield tensors[name].array().tobytes()


def convert(source: Path, out: Path, trust: bool, parts: list[str] | None) -> str:
    """Writes the file; what was done, in one line."""
    checkpoint = load(source, trust)
    if not isinstance(checkpoint, (Mapping, list, tuple)):
        raise ConversionError(f"{source}: holds a {type(checkpoint).__name__}, expected a checkpoint")
    key = next((key for key in MODEL_KEYS if isinstance(checkpoint, Mapping) and key in checkpoint), None)
    try:
        tensors = released_tensors(checkpoint if key is None else checkpoint[key], parts)
    except ConversionError as error:
        raise ConversionError(f"{source}: {error}") from None
    except RecursionError:
        raise ConversionError(f"{source}: model: dictionaries in dictionaries without an end, expected tensors") from None
    metadata = {} if key is None else metadata_of(checkpoint)
    try:
        with fresh_file.replacing(out) as file:
            for piece in safetensors(tensors, metadata):
                file.write(piece)
    except torch_file.FileError as error:
        raise ConversionError(f"{source}: {error}") from None
    strange = [name for name, tensor in tensors.items() if not tensor.is_finite()]
    for name in strange:
        print(f"convert_checkpoint.py: warning: {name} holds NaN or infinity", file=sys.stderr)
    numbers = sum(math.prod(tensor.shape) for tensor in tensors.values())
    groups = sorted({name.split(".")[0] for name in tensors})
    return f"{out}: {len(tensors)} tensors, {numbers} numbers: {' '.join(groups)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turn a released checkpoint, or weights of a network for pictures, "
                                                 "into safetensors.")
    parser.add_argument("source", type=Path, metavar="IN.pth")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--trust", action="store_true", help="unpickle every object in the file: runs its code")
    parser.add_argument("--parts", type=lambda text: text.split(","), metavar="NAME,NAME,...",
                        help="names of the parts of a model that is a list (default: img_enc,txt_enc)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        print(convert(options.source, options.out, options.trust, options.parts))
    except (ConversionError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
