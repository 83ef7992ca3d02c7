#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""VSRN in PyTorch on a prepared data folder: what our own training is compared with.

Region features through a linear layer, region-relation graph convolutions and a GRU; captions
through learned word vectors and a GRU; hinge loss, first epoch(s) with the sum over negatives,
then the hardest. Adam with cosine decay. Prints the recalls of the model after the last epoch
(nothing is chosen on test) and the seconds of training. Needs torch and numpy.

    vsrn_demo.py data/emoji --dim 128 --epochs 10 --seed 1 --threads 1
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pack_padded_sequence

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "data"), str(ROOT / "scripts")]

import printing  # noqa: E402
import text_file  # noqa: E402

PAD, UNKNOWN = 0, 1
RANKS = (1, 5, 10)


class Split:
    """Features, captions and the row of each caption's image."""

    def __init__(self, folder: Path, name: str) -> None:
        self.ims = torch.from_numpy(np.load(folder / f"{name}_ims.npy"))
        self.captions = [line.split() for line in text_file.lines(folder / f"{name}_caps.txt")]
        self.ids = torch.tensor(text_file.image_rows(folder / f"{name}_ids.txt"))


class Vocabulary:
    """Word numbers; built from the training captions alone."""

    def __init__(self, captions: list[list[str]], min_count: int) -> None:
        counts = Counter(word for caption in captions for word in caption)
        kept = sorted(word for word, count in counts.items() if count >= min_count)
        self.number = {word: row for row, word in enumerate(kept, start=2)}

    def __len__(self) -> int:
        return len(self.number) + 2

    def batch(self, captions: list[list[str]]) -> tuple[Tensor, Tensor]:
        """Padded word numbers and lengths."""
        lengths = torch.tensor([len(caption) for caption in captions])
        words = torch.full((len(captions), int(lengths.max())), PAD)
        for row, caption in enumerate(captions):
            words[row, : len(caption)] = torch.tensor([self.number.get(word, UNKNOWN) for word in caption])
        return words, lengths


class GraphConvolution(nn.Module):
    """v + BatchNorm(Linear(R g)), R = theta phi^T / N: regions exchange what they hold."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm = nn.BatchNorm1d(dim)
        nn.init.zeros_(self.norm.weight)  # each layer starts as the identity

    def forward(self, v: Tensor) -> Tensor:
        relation = self.theta(v) @ self.phi(v).transpose(1, 2) / v.shape[1]
        y = self.out(relation @ self.g(v))
        return v + self.norm(y.flatten(0, 1)).view_as(v)


class ImageEncoder(nn.Module):
    def __init__(self, width: int, dim: int, gcn: int, pool: str) -> None:
        super().__init__()
        self.fc = nn.Linear(width, dim)
        bound = math.sqrt(6 / (width + dim))
        nn.init.uniform_(self.fc.weight, -bound, bound)
        nn.init.zeros_(self.fc.bias)
        self.gcn = nn.Sequential(*(GraphConvolution(dim) for _ in range(gcn)))
        self.gru = nn.GRU(dim, dim, batch_first=True) if pool == "gru" else None

    def forward(self, ims: Tensor) -> Tensor:
        v = normalize(self.gcn(normalize(self.fc(ims), dim=-1)), dim=-1)
        return normalize(self.gru(v)[1][0] if self.gru else v.mean(1), dim=-1)


class TextEncoder(nn.Module):
    def __init__(self, words: int, word_dim: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.gru = nn.GRU(word_dim, dim, batch_first=True)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        return normalize(self.gru(packed)[1][0], dim=-1)


def hinge(scores: Tensor, margin: float, hardest: bool) -> Tensor:
    """Ranking loss both ways over the batch, the diagonal being right."""
    right = scores.diagonal()
    same = torch.eye(len(scores), dtype=torch.bool)
    captions = (margin + scores - right[:, None]).clamp(min=0).masked_fill(same, 0)
    images = (margin + scores - right[None, :]).clamp(min=0).masked_fill(same, 0)
    if hardest:
        return captions.amax(1).sum() + images.amax(0).sum()
    return captions.sum() + images.sum()


def recalls(ranks: Tensor) -> dict[str, float]:
    return {f"r{limit}": round(100 * (ranks < limit).float().mean().item(), 2) for limit in RANKS}


def evaluate(image: nn.Module, text: nn.Module, vocabulary: Vocabulary, split: Split) -> dict[str, dict[str, float]]:
    """Best of an image's own captions (i2t), the caption's image (t2i)."""
    image.eval(), text.eval()
    with torch.no_grad():
        scores = image(split.ims) @ text(*vocabulary.batch(split.captions)).T
    own = torch.arange(len(split.ims))[:, None] == split.ids[None, :]
    best = scores.masked_fill(~own, -2).amax(1, keepdim=True)
    right = scores[split.ids, torch.arange(len(split.ids))]
    return {"i2t": recalls((scores > best).sum(1)), "t2i": recalls((scores > right).sum(0))}


def batches(count: int, size: int) -> Iterator[Tensor]:
    """Every caption once, shuffled; what does not fill a batch is left for the next epoch."""
    order = torch.randperm(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def train(options: argparse.Namespace, data: Split, vocabulary: Vocabulary, log: Callable[[str], None]
          ) -> tuple[nn.Module, nn.Module]:
    image = ImageEncoder(data.ims.shape[2], options.dim, options.gcn, options.pool)
    text = TextEncoder(len(vocabulary), options.word_dim, options.dim)
    parameters = [*image.parameters(), *text.parameters()]
    log(f"{sum(p.numel() for p in parameters)} parameters, {len(vocabulary)} words, {len(data.captions)} captions")
    optimiser = torch.optim.Adam(parameters, lr=options.lr)
    steps = options.epochs * (len(data.captions) // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(options.epochs):
        image.train(), text.train()
        total = count = 0
        for rows in batches(len(data.captions), options.batch):
            captions = text(*vocabulary.batch([data.captions[row] for row in rows.tolist()]))
            scores = image(data.ims[data.ids[rows]]) @ captions.T
            loss = hinge(scores, options.margin, hardest=epoch >= options.sum_epochs)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 2.0)
            optimiser.step()
            schedule.step()
            total, count = total + loss.item(), count + len(rows)
        log(f"epoch {epoch + 1}: loss per pair {total / count:.4f}")
    return image, text


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="PyTorch VSRN on a prepared data folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--word-dim", type=int, default=128)
    parser.add_argument("--gcn", type=int, default=2, help="graph convolutions")
    parser.add_argument("--pool", choices=("gru", "mean"), default="gru")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--sum-epochs", type=int, default=1, help="first epochs, with the sum over negatives")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--margin", type=float, default=0.2)
    parser.add_argument("--min-count", type=int, default=1, help="a rarer word is unknown")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the results as one line of JSON only")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    log: Callable[[str], None] = (lambda line: None) if options.json else (lambda line: print(line, flush=True))
    data = Split(options.folder, "train")
    vocabulary = Vocabulary(data.captions, options.min_count)
    started = time.perf_counter()
    image, text = train(options, data, vocabulary, log)
    seconds = time.perf_counter() - started
    tests = {name: Split(options.folder, name) for name in ("dev", "test", "test_new")}
    results = {name: evaluate(image, text, vocabulary, split) for name, split in tests.items()}
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key not in ("folder", "json")}
        print(json.dumps({**settings, "torch": torch.__version__, "seconds": round(seconds, 1), **results}))
        return
    print(f"{seconds:.1f} s of training, {options.threads} thread(s)")
    print("             image->text            text->image")
    print("             R@1    R@5   R@10      R@1    R@5   R@10")
    for name, both in results.items():
        to_text, to_image = ("".join(f"{value:7.1f}" for value in both[way].values()) for way in ("i2t", "t2i"))
        print(f"{name:9s}{to_text}  {to_image}")


if __name__ == "__main__":
    printing.is_the_result()
    main()
