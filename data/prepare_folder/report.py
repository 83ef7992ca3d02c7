# SPDX-License-Identifier: Apache-2.0
"""What a data folder has, in a few lines."""

from __future__ import annotations

import re
from collections import Counter

from prepare_folder import Image

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
ORDER = ("train", "dev", "test")


def split_names(images: list[Image]) -> list[str]:
    """train, dev, test, then others as they come."""
    there = dict.fromkeys(image.split for image in images)
    return [name for name in ORDER if name in there] + [name for name in there if name not in ORDER]


def words_of(images: list[Image]) -> list[list[str]]:
    """Of each caption, in lower case."""
    return [WORD.findall(caption.text.lower()) for image in images for caption in image.captions]


def span(numbers: list[int]) -> str:
    """Least, mean and most."""
    return f"{min(numbers):5d} {sum(numbers) / len(numbers):7.1f} {max(numbers):6d}"


def split_lines(images: list[Image]) -> list[str]:
    lines = ["split       images   captions   captions an image       words a caption        unknown",
             "                                 min    mean    max      min    mean    max      words"]
    known = {word for words in words_of([image for image in images if image.split == "train"]) for word in words}
    for name in split_names(images):
        chosen = [image for image in images if image.split == name]
        captions = words_of(chosen)
        every = [word for words in captions for word in words]
        unknown = f"{100 * sum(word not in known for word in every) / max(1, len(every)):8.1f}%" if known else " " * 9
        lines.append(f"{name:10s} {len(chosen):7,d} {len(captions):10,d}   {span([len(one.captions) for one in chosen])}"
                     f"    {span([len(words) for words in captions])}  {unknown}")
    return lines


def vocabulary_line(images: list[Image]) -> list[str]:
    counts = Counter(word for words in words_of([one for one in images if one.split == "train"]) for word in words)
    if not counts:
        return []
    often = sum(count >= 4 for count in counts.values())
    return [f"train has {len(counts):,} different words, {often:,} of them four times or more"]


def ambiguous_line(images: list[Image]) -> list[str]:
    """Captions that are right for several images of their split: of those answers one alone will count."""
    owners = Counter((image.split, text) for image in images
                     for text in {caption.text.lower() for caption in image.captions})
    held = sum(count for (split, _), count in owners.items() if count > 1 and split != "train")
    return [f"{held:,} captions outside train stand at several images of their split"] if held else []


def picture_line(images: list[Image]) -> str:
    kinds = Counter(image.kind for image in images).most_common()
    sizes = sorted((image.size for image in images), key=lambda size: size[0] * size[1])
    small, middle, large = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    return (f"pictures: {', '.join(f'{count:,} {kind}' for kind, count in kinds)}; {small[0]}x{small[1]} to "
            f"{large[0]}x{large[1]}, the middle one {middle[0]}x{middle[1]}")


def missing_split_lines(images: list[Image]) -> list[str]:
    there = {image.split for image in images}
    if "train" in there and "dev" not in there:
        return ["note: no split dev, by which the best model is chosen: --splits train=90,dev=10 divides train"]
    return []


def lines(images: list[Image]) -> list[str]:
    return [*split_lines(images), *vocabulary_line(images), *ambiguous_line(images), picture_line(images),
            *missing_split_lines(images)]
