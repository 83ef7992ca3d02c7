#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records evaluation.safetensors and judgments.json: what the package eccv-caption says of made-up judgments, and
what NumPy and SciPy say of bootstrap intervals and paired tests.

    python3 -m venv VENV && VENV/bin/pip install numpy scipy safetensors eccv-caption
    VENV/bin/python tests/golden/record_evaluation.py

Embeddings are made up; some are equal, and no score of a right answer ties with one of a wrong one, of which the
package would take the order that sorting gives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from eccv_caption._metrics import compute_eccv_metrics, compute_r_at_k
from safetensors.numpy import save_file
from scipy import stats

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

import printing  # noqa: E402

IMAGES, EACH, WIDTH = 60, 5, 8
RANKED, RESAMPLES = 400, 200_000
LIMITS = (1, 5, 10)


# ---- judgments ------------------------------------------------------------------------------


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def judged(rng: np.random.Generator, queries: int, answers: int, own: dict[int, list[int]]) -> dict[int, list[int]]:
    """Right answers of two thirds of the queries: their own, and others by chance."""
    asked = rng.permutation(queries)[: queries * 2 // 3]
    return {int(q): sorted({*own[int(q)], *(int(a) for a in rng.integers(0, answers, rng.integers(0, 9)))}) for q in asked}


def metrics(scores: np.ndarray, right: dict[int, list[int]]) -> np.ndarray:
    """mAP@R, R-Precision, R@1, R@5, R@10 in percent, by the package."""
    found = {q: [int(a) for a in np.argsort(-scores[q], kind="stable")] for q in right}
    one = compute_eccv_metrics(found, right)
    recalls = [compute_r_at_k(found, right, k) for k in LIMITS]
    return 100 * np.array([one["eccv_map_at_r"], one["eccv_rprecision"], *recalls])


def record_judgments(rng: np.random.Generator) -> tuple[dict, dict[str, np.ndarray]]:
    images = rng.normal(size=(IMAGES, WIDTH))
    captions = unit(np.repeat(images, EACH, axis=0) + 1.5 * rng.normal(size=(IMAGES * EACH, WIDTH)))
    images = unit(images)
    of_image = {i: list(range(i * EACH, (i + 1) * EACH)) for i in range(IMAGES)}
    of_caption = {c: [c // EACH] for c in range(IMAGES * EACH)}
    i2t = judged(rng, IMAGES, IMAGES * EACH, of_image)
    t2i = judged(rng, IMAGES * EACH, IMAGES, of_caption)
    scores = images @ captions.T
    text = {"name": "made up", "image_to_text": {str(q): a for q, a in i2t.items()},
            "text_to_image": {str(q): a for q, a in t2i.items()}}
    return text, {"images": images, "captions": captions, "judged.i2t": metrics(scores, i2t),
                  "judged.t2i": metrics(scores.T, t2i)}


# ---- ranks ----------------------------------------------------------------------------------


def sums(ranks: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """(RANKED,3): how many of an image's ranks are below each limit."""
    hits = np.stack([ranks < k for k in LIMITS], axis=1).astype(np.int64)
    out = np.zeros((RANKED, len(LIMITS)), np.int64)
    np.add.at(out, image_of, hits)
    return out


def samples(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each image is drawn, a few samples at a time."""
    for _ in range(RESAMPLES // 1000):
        yield rng.multinomial(RANKED, np.full(RANKED, 1 / RANKED), size=1000)


def ends(rng: np.random.Generator, i2t: np.ndarray, t2i: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(7,3): both ends of the interval and the spread of each recall and of their sum."""
    values = []
    for drawn in samples(rng):
        one = 100 * (drawn @ i2t) / RANKED
        other = 100 * (drawn @ t2i) / (drawn @ asked)[:, None]
        values.append(np.concatenate([one, other, (one.sum(1) + other.sum(1))[:, None]], axis=1))
    all_values = np.concatenate(values)
    return np.stack([*np.percentile(all_values, [2.5, 97.5], axis=0), all_values.std(0)], axis=1)


def exact_p(differences: np.ndarray) -> float:
    """Of a sum as large either way, were each difference's sign a fair coin's: by the whole distribution."""
    reach = int(np.abs(differences).sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1
    for d in np.abs(differences[differences != 0]):
        chance = (np.roll(chance, d) + np.roll(chance, -d)) / 2
    at = np.arange(-reach, reach + 1)
    return float(chance[np.abs(at) >= abs(differences.sum())].sum())


def record_ranks(rng: np.random.Generator) -> dict[str, np.ndarray]:
    each = rng.integers(3, 7, RANKED)
    image_of = np.repeat(np.arange(RANKED), each)
    level = rng.normal(size=RANKED)
    kept: dict[str, np.ndarray] = {"image_of": image_of, "p": np.zeros(7)}
    found = {}
    for name, better in (("a", 0.0), ("b", 0.1)):
        i2t = np.floor(np.exp(1.2 + level - better + 0.8 * rng.normal(size=RANKED))).astype(np.int64)
        t2i = np.floor(np.exp(1.5 + level[image_of] - better + 0.8 * rng.normal(size=len(image_of)))).astype(np.int64)
        kept[f"{name}.i2t"], kept[f"{name}.t2i"] = i2t, t2i
        found[name] = sums(i2t, np.arange(RANKED)), sums(t2i, image_of)
    kept["intervals"] = ends(rng, *found["a"], each)
    kept["changes"] = ends(rng, found["b"][0] - found["a"][0], found["b"][1] - found["a"][1], each)
    for way in range(2):
        for k in range(len(LIMITS)):
            d = found["b"][way][:, k] - found["a"][way][:, k]
            kept["p"][3 * way + k] = exact_p(d)
            if way == 0:  # the sign test
                won, lost = int((d > 0).sum()), int((d < 0).sum())
                assert abs(stats.binomtest(won, won + lost).pvalue - kept["p"][k]) < 1e-12
    # rsum is not of whole numbers: 100/RANKED of one way, 100/captions of the other, is brought to a common denominator
    i2t, t2i = ((b - a).sum(axis=1) for a, b in zip(found["a"], found["b"]))
    whole = i2t * len(image_of) + t2i * RANKED
    kept["p"][6] = exact_p(whole // np.gcd.reduce(whole))
    # the bootstrap of a proportion is a binomial distribution
    for k in range(len(LIMITS)):
        hits = found["a"][0][:, k].sum()
        low, high = stats.binom.ppf([0.025, 0.975], RANKED, hits / RANKED)
        assert np.all(np.abs(kept["intervals"][k, :2] - 100 * np.array([low, high]) / RANKED) <= 100 / RANKED)
    return kept


def main() -> None:
    rng = np.random.default_rng(7)
    text, tensors = record_judgments(rng)
    tensors |= record_ranks(rng)
    (HERE / "judgments.json").write_text(json.dumps(text) + "\n", encoding="utf-8")
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, HERE / "evaluation.safetensors")
    print(HERE / "evaluation.safetensors")


if __name__ == "__main__":
    printing.is_beside_the_work()
    main()
