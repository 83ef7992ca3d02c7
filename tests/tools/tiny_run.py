# SPDX-License-Identifier: Apache-2.0
"""A run that takes a second, for tests: colours and shapes in features, with their pictures."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

REGIONS, FEATURES = 4, 6
WILD = "a <script>alert(4)</script> \"red\" & 'square' </h3>"

CONFIG = """[data]
folder = {data}
min_count = 1
[run]
folder = {run}
seed = 3
threads = 1
[train]
epochs = 2
batch = 8
lr = 0.01
log_every = 1
{model}[loss]
retrieval = hinge margin=0.2 negatives=hardest sum_epochs=1
discrete_policy = 1
continuous_policy = 1
"""

FEATURE_MODEL = """[image]
fc = linear width=12
gcn = gcn x 2
attend = policy_attention heads=2 actions=10
pool = mean + gru
bn = batchnorm
[text]
embed = words width=8
pool = gru width=12
bn = batchnorm
"""

PICTURE_MODEL = """[image]
pixels = pictures size=32
conv = conv2d width=12 kernel=3 stride=8
places = regions
self = attention heads=2
attend = policy_attention heads=1 actions=10
pool = mean
bn = batchnorm
[text]
embed = words width=8
self = attention heads=2
pool = gru width=12
bn = batchnorm
"""


def write_npy(path: Path, shape: tuple[int, ...], values: list[float]) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}f", *values))


def features(name: str, images: int) -> list[float]:
    """In which colour and shape of an image can be read."""
    chance = random.Random(name)
    return [chance.gauss(0, 0.1) + (k in (i % 3, 3 + i // 3 % 3))
            for i in range(images) for _ in range(REGIONS) for k in range(FEATURES)]


def png(path: Path, colour: int) -> None:
    """8 x 8 pixels of one colour."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + bytes(255 * (k == colour) for k in range(3)) * 8
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b""))


def write_split(folder: Path, name: str, images: int) -> None:
    write_npy(folder / f"{name}_ims.npy", (images, REGIONS, FEATURES), features(name, images))
    colours, shapes = ("red", "green", "blue"), ("square", "circle", "star")
    lines = [line for i in range(images)
             for line in (f"a {colours[i % 3]} {shapes[i // 3 % 3]}", f"{shapes[i // 3 % 3]} {colours[i % 3]}")]
    lines[1] = WILD
    (folder / f"{name}_caps.txt").write_text("\n".join(lines) + "\n")
    for i in range(images):
        png(folder / f"{name}{i}.png", i % 3)
    (folder / f"{name}_pictures.txt").write_text("".join(f"{name}{i}.png\n" for i in range(images)))


def write_data(folder: Path) -> None:
    """Three splits; each region is a quarter of its picture."""
    folder.mkdir()
    for name, images in (("train", 24), ("dev", 9), ("test", 9)):
        write_split(folder, name, images)
    boxes = [(0, 0, .5, .5), (.5, 0, 1, .5), (0, .5, .5, 1), (.5, .5, 1, 1)]
    write_npy(folder / "boxes.npy", (REGIONS, 4), [side for box in boxes for side in box])


def configuration(data: Path, run: Path, pictures: bool = False) -> str:
    """Of a model of features, or of pictures."""
    return CONFIG.format(data=data, run=run, model=PICTURE_MODEL if pictures else FEATURE_MODEL)
