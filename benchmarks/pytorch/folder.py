# SPDX-License-Identifier: Apache-2.0
"""A prepared data folder (data/make_synthetic.py) as batches on the host."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))

import text_file  # noqa: E402

START, END, UNKNOWN = 1, 2, 3
LOADED_WORDS, LOADED_TOKENS = 87, 61  # to which the released loader pads captions, and the captioner's labels


@dataclass
class HostBatch:
    images: Tensor  # (B,N,F)
    ids: Tensor  # (B,T), 0 behind a caption
    lengths: Tensor  # (B)
    classes: Tensor  # (B)
    labels: Tensor  # (B,M)
    counts: Tensor  # (B,M): 1 where a label counts


class Split:
    """Captions come five an image, in the order of the images."""

    def __init__(self, folder: Path, name: str, word_ids: dict[str, int]) -> None:
        # mapped, as ours: what is not used takes no memory
        self.images = torch.from_numpy(np.load(folder / f"{name}_ims.npy", mmap_mode="c"))
        lines = [line.lower().replace(".", " . ") for line in text_file.lines(folder / f"{name}_caps.txt")]
        self.captions = [[START, *(word_ids.get(word, UNKNOWN) for word in line.split()), END] for line in lines]
        self.each = len(self.captions) // len(self.images)

    def batch(self, rows: list[int], released: bool, bucket: int) -> HostBatch:
        """Of these captions; padded as the released loader does, or to a multiple of `bucket`."""
        longest = max(len(self.captions[row]) for row in rows)
        words = LOADED_WORDS if released else -(-longest // bucket) * bucket
        tokens = LOADED_TOKENS if released else words
        ids = torch.zeros(len(rows), max(words, tokens), dtype=torch.int64)
        lengths = torch.tensor([len(self.captions[row]) for row in rows])
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = torch.tensor(self.captions[row])
        # the released code's labels count one <pad> behind <end>
        counts = (torch.arange(tokens) < lengths[:, None] + released).float()
        images = torch.tensor([row // self.each for row in rows])
        return HostBatch(self.images[images], ids[:, :words].contiguous(), lengths, images,
                         ids[:, :tokens].contiguous(), counts)


def read_vocabulary(folder: Path) -> dict[str, int]:
    return json.loads(text_file.read(folder / "vocabulary.json"))["word2idx"]


def training_batches(split: Split, size: int, count: int, released: bool, bucket: int) -> list[HostBatch]:
    """`count` batches of captions drawn by a fixed seed, each sorted by falling length as the released loader does."""
    order = torch.randperm(len(split.captions), generator=torch.Generator().manual_seed(1)).tolist()
    batches = []
    for first in range(0, min(len(order), count * size) - size + 1, size):
        rows = sorted(order[first : first + size], key=lambda row: -len(split.captions[row]))
        batches.append(split.batch(rows, released, bucket))
    return batches
