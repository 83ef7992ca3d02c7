# SPDX-License-Identifier: Apache-2.0
"""Embedding and ranking of a split, as the released code does it and as fast as PyTorch does it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from folder import Split

RANKS = (1, 5, 10)


def embedded_pairs(model: nn.Module, split: Split, table: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """As the released loader gives them: an image is embedded with each of its captions, padded to 87 words."""
    images, captions = [], []
    for first in range(0, len(split.captions), size):
        batch = split.batch(list(range(first, min(first + size, len(split.captions)))), True, 1)
        images.append(model.embed_images(batch.images.to(table.device)).cpu())
        captions.append(model.embed_captions(table[batch.ids.to(table.device)], batch.lengths).cpu())
    return torch.cat(images)[:: split.each], torch.cat(captions)


def sorted_recalls(images: np.ndarray, captions: np.ndarray) -> list[float]:
    """A sort for each query, one after another, on the host."""
    each, scores = len(captions) // len(images), images @ captions.T
    i2t, t2i = np.zeros(len(images), int), np.zeros(len(captions), int)
    for i, row in enumerate(scores):
        order = np.argsort(row)[::-1]
        i2t[i] = min(np.where(order == c)[0][0] for c in range(each * i, each * i + each))
    for c, column in enumerate(scores.T):
        t2i[c] = np.where(np.argsort(column)[::-1] == c // each)[0][0]
    return [100 * float(np.mean(ranks < k)) for ranks in (i2t, t2i) for k in RANKS]


def evaluate_stepwise(model: nn.Module, split: Split, table: Tensor) -> list[float]:
    images, captions = embedded_pairs(model, split, table, 128)
    return sorted_recalls(images.numpy(), captions.numpy())


def evaluate_batched(model: nn.Module, split: Split, table: Tensor, size: int = 500) -> list[float]:
    """Each image once, all ranks from one product, on the device."""
    device, images, captions = table.device, [], []
    for first in range(0, len(split.images), size):
        images.append(model.embed_images(split.images[first : first + size].to(device)))
    for first in range(0, len(split.captions), size):
        batch = split.batch(list(range(first, min(first + size, len(split.captions)))), False, 8)
        captions.append(model.embed_captions(table[batch.ids.to(device)], batch.lengths.to(device)))
    with torch.autocast(device.type, enabled=False):
        scores = torch.cat(images).float() @ torch.cat(captions).float().T
    own = torch.arange(len(split.captions), device=device)
    right = scores[own // split.each, own]
    best = right.view(-1, split.each).amax(1, keepdim=True)
    ranks = (scores > best).sum(1), (scores > right).sum(0)
    return torch.stack([100 * (r < k).float().mean() for r in ranks for k in RANKS]).tolist()
