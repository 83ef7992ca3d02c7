# SPDX-License-Identifier: Apache-2.0
"""What picture files are: kind and size from their beginning, or, decoded, what they look like."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import memory
import wrong_file
from prepare_folder import Image, SourceError
from prepare_folder.problems import Problems

# As Pillow calls them. MPO, of some cameras and telephones, is a JPEG with further ones behind it.
KINDS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "WEBP": "WebP"}
MOST_PIXELS = 178956970  # what `train` reads at most
LOOK = 16
# The root of the mean squared difference of two pictures reduced to 16x16, of 255, under which they
# look alike: the same one stored at another quality or size is below 2.
ALIKE = 3.0
DISTANCES_AT_ONCE = 1 << 24
# Pillow's decoders call a picture broken, too, for which they have no memory: looked at again, alone, with so many MiB.
TO_BE_SURE = 256
BYTES_A_PIXEL = 16  # of memory to decode one, for which Pillow's WebP does not ask whether it is there

Pillow.MAX_IMAGE_PIXELS = None
warnings.simplefilter("ignore")


class Unreadable(Exception):
    pass


def look_at(path: Path, decode: bool) -> tuple[str, tuple[int, int], np.ndarray | None]:
    """Kind, width and height, and (if decoded) the picture reduced to 16x16."""
    try:
        if path.stat().st_size == 0:
            raise Unreadable("an empty file")
        with Pillow.open(path) as picture:
            if picture.format not in KINDS:
                raise Unreadable(f"a picture of kind {picture.format}, expected JPEG, PNG or WebP: convert it")
            if picture.width * picture.height > MOST_PIXELS:
                raise Unreadable(f"{picture.width}x{picture.height} pixels, expected {MOST_PIXELS} at most")
            size = picture.size
            if not decode:
                return KINDS[picture.format], size, None
            with memory.promised(1 + (size[0] * size[1] * BYTES_A_PIXEL >> 20)):
                return KINDS[picture.format], size, reduced(picture)
    except Pillow.UnidentifiedImageError:
        kind = wrong_file.kind(path)
        broken = kind is None or kind.startswith("a picture")
        raise Unreadable("no picture, or a broken one" if broken else kind) from None
    except (MemoryError, Unreadable):
        raise
    except Exception as error:  # Pillow raises whatever it likes at a damaged picture
        if memory.is_lack(error):
            raise
        raise Unreadable(f"a broken picture ({error})") from None


def reduced(picture: Pillow.Image) -> np.ndarray:
    """(768,) numbers of 0 to 255; what is transparent lies over white."""
    picture.draft("RGB", (4 * LOOK, 4 * LOOK))  # a JPEG is read whole, and computed at an eighth
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        over = Pillow.new("RGBA", picture.size, "white")
        over.alpha_composite(picture)
        picture = over
    small = picture.convert("RGB").resize((LOOK, LOOK), Pillow.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()


def check(images: list[Image], decode: bool, problems: Problems) -> tuple[list[Image], np.ndarray | None]:
    """Those that can be read, with kind and size; if decoded, (images, 768) of what they look like."""

    def one(image: Image) -> tuple[str, tuple[int, int], np.ndarray | None] | Unreadable:
        try:
            return look_at(image.path, decode)
        except Unreadable as wrong:
            return wrong

    def again(image: Image) -> tuple[str, tuple[int, int], np.ndarray | None] | Unreadable:
        if isinstance(answer := one(image), Unreadable) and not memory.is_there(TO_BE_SURE):
            raise SourceError(f"{image.where}: {image.name}: {answer}, or out of memory to read it: with {TO_BE_SURE} MiB "
                              "more it is known")
        return answer

    readable, looks = [], []
    for image, answer in zip(images, memory.in_threads(one, images)):
        if isinstance(answer, Unreadable):
            answer = again(image)
        if isinstance(answer, Unreadable):
            problems.add("unreadable", image.where, f"{image.name}: {answer}")
        else:
            image.kind, image.size = answer[0], answer[1]
            readable.append(image)
            looks.append(answer[2])
    return readable, np.stack(looks) if decode and looks else None


def alike(looks: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows that look alike, the smaller first."""
    looks = looks.astype(np.float32)
    squares = (looks**2).sum(1)
    most = ALIKE**2 * looks.shape[1]
    step = max(1, DISTANCES_AT_ONCE // len(looks))
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(looks), step):
        rows, later = slice(start, start + step), slice(start, None)
        distance = squares[rows, None] + squares[None, later] - 2 * (looks[rows] @ looks[later].T)
        near = np.argwhere(distance <= 2 * most) + start
        near = near[near[:, 0] < near[:, 1]]
        # Again, exactly: differences of large sums are rough.
        for few in np.array_split(near, 1 + len(near) // 10000):
            exact = ((looks[few[:, 0]] - looks[few[:, 1]]) ** 2).sum(1)
            pairs += map(tuple, few[exact <= most].tolist())
    return pairs
