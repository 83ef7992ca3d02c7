#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The baseline that learns nothing: the captions of the nearest training picture.

Each test picture is described by the captions of the training picture nearest to it
(Euclidean distance over all its region features), and compared with the test captions
by TF-IDF cosine. Prints recalls in percent for `test` and, if there is one, `test_new` of a data
folder. Of a folder of pictures without features, the pictures themselves are compared, reduced to 24x24.

image->text: rank of the best of an image's own captions; text->image: rank of the caption's
image. Test pictures with the same neighbour score alike: an equal score counts as half a
place, which is the expected rank were ties broken by lot. `--ties` says otherwise.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while pictures were compared", pillow=False)
    import numpy as np

    import npy_file
    import printing
    import text_file
    from emoji_prep.captions import plain
except ImportError as error:
    missing_package.stop(error)

warnings.simplefilter("ignore")  # of pictures that are read in spite of them

ROWS_AT_ONCE = 4096  # of training pictures, whose features may be too many for memory
SIDE = 24
RANKS = (1, 5, 10)
# What part of the places taken by equal scores is counted.
TIES = {"best": 0.0, "expected": 0.5, "worst": 1.0}


class FeatureError(Exception):
    """What is wrong with features, in one line."""


class Split:
    """Pictures and captions of one split, as `train` reads them."""

    def __init__(self, folder: Path, name: str, features: str) -> None:
        self.where = f"{folder}/{name}"
        self.ims = read_features(folder, name, features)
        self.captions = [plain(caption) for caption in text_file.lines(folder / f"{name}_caps.txt")]
        ids = folder / f"{name}_ids.txt"
        each = max(1, len(self.captions) // len(self.ims))
        rows = text_file.image_rows(ids) if ids.exists() else [i // each for i in range(len(self.captions))]
        if not rows or len(self.captions) != len(rows) or max(rows) >= len(self.ims) or min(rows) < 0:
            raise FeatureError(f"{self.where}: {len(self.captions)} captions, {len(rows)} image numbers and "
                             f"{len(self.ims)} images do not match")
        self.ids = np.array(rows, dtype=np.int64)

    def documents(self) -> list[list[str]]:
        """All the words of each image's captions."""
        words: list[list[str]] = [[] for _ in self.ims]
        for row, caption in zip(self.ids, self.captions):
            words[row] += caption.split()
        return words


def read_features(folder: Path, name: str, features: str) -> np.ndarray:
    """A row an image, of a file or, if there is none, of pictures."""
    path, pictures = folder / features.replace("{split}", name), folder / f"{name}_pictures.txt"
    if path.is_dir() and any(path.glob("*.npy")):  # in parts: 00000.npy, 00001.npy, ...
        parts = [(part, npy_file.read(part)) for part in sorted(path.glob("*.npy"))]
        for part, rows in parts:
            if rows.shape[1:] != parts[0][1].shape[1:]:
                raise FeatureError(f"{part}: rows of {rows.shape[1:]}, expected {parts[0][1].shape[1:]} as in {parts[0][0]}")
        return np.concatenate([rows for _, rows in parts])
    if path.exists() or not pictures.exists():
        return npy_file.read(path)
    from PIL import Image, ImageOps  # of a folder of features not needed

    def small(number: int, line: str) -> np.ndarray:
        try:
            with Image.open(folder / line) as picture:
                picture.draft("RGB", (4 * SIDE, 4 * SIDE))
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises whatever it likes at a damaged picture
            raise FeatureError(f"{pictures}:{number}: {line}: no picture, or a broken one ({error})") from None
        over = Image.new("RGBA", upright.size, "white")
        over.alpha_composite(upright)
        return np.asarray(over.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32).ravel()

    lines = text_file.lines(pictures)
    if not lines:
        raise FeatureError(f"{pictures}: no pictures in it, expected one a line")
    return np.stack([small(number, line) for number, line in enumerate(lines, start=1)])


class TfIdf:
    """Unit-length TF-IDF vectors; what the training images are never called is not seen."""

    def __init__(self, documents: list[list[str]]) -> None:
        frequency = Counter(word for document in documents for word in set(document))
        self.column = {word: number for number, word in enumerate(sorted(frequency))}
        counts = np.array([frequency[word] for word in self.column], dtype=np.float64)
        self.weight = np.log((1 + len(documents)) / (1 + counts)) + 1

    def __call__(self, documents: list[list[str]]) -> np.ndarray:
        vectors = np.zeros((len(documents), len(self.column)))
        for row, document in enumerate(documents):
            for word in document:
                if word in self.column:
                    vectors[row, self.column[word]] += 1
        vectors *= self.weight
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(length > 0, length, 1)


def nearest(queries: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """The row of the picture nearest to each query."""
    points = queries.reshape(len(queries), -1).astype(np.float64)
    best, least = np.zeros(len(points), dtype=np.int64), np.full(len(points), np.inf)
    for start in range(0, len(pictures), ROWS_AT_ONCE):
        rows = pictures[start : start + ROWS_AT_ONCE]
        rows = rows.reshape(len(rows), -1).astype(np.float64)
        with np.errstate(all="ignore"):
            squares = (rows * rows).sum(1)[None, :] - 2 * points @ rows.T  # each query's own square is the same for all
        if not np.isfinite(squares).all():
            raise FeatureError("not all features are finite numbers, expected such")
        here = squares.argmin(1)
        distance = squares[np.arange(len(points)), here]
        best = np.where(distance < least, start + here, best)
        least = np.minimum(distance, least)
    return best


def places(scores: np.ndarray, own: np.ndarray, ties: float) -> np.ndarray:
    """How many of the others come before the best own one, for each row of scores.

    `own` marks the right answers. Another right answer is never in the way of the best.
    """
    best = np.where(own, scores, -np.inf).max(1, keepdims=True)
    return ((scores > best) & ~own).sum(1) + ties * ((scores == best) & ~own).sum(1)


def recalls(ranks: np.ndarray) -> list[float]:
    return [100.0 * float((ranks < limit).mean()) for limit in RANKS]


def evaluate(train: Split, test: Split, ties: float) -> tuple[list[float], list[float]]:
    """R@1, R@5, R@10 of image->text and of text->image."""
    if train.ims[0].size != test.ims[0].size:
        raise FeatureError(f"{test.where}: images of {test.ims[0].size} numbers, expected {train.ims[0].size} as in {train.where}")
    documents = train.documents()
    tfidf = TfIdf(documents)
    try:
        rows = nearest(test.ims, train.ims)
    except FeatureError as error:
        raise FeatureError(f"{test.where} and {train.where}: {error}") from None
    described = tfidf([documents[row] for row in rows])
    captions = tfidf([caption.split() for caption in test.captions])
    # Rounded, so that scores equal but for the order of summation are equal.
    scores = np.round(described @ captions.T, 9)
    own = np.arange(len(test.ims))[:, None] == test.ids[None, :]
    return recalls(places(scores, own, ties)), recalls(places(scores.T, own.T, ties))


def main() -> int:
    parser = argparse.ArgumentParser(description="Recalls of the nearest training picture's captions.")
    parser.add_argument("folder", type=Path, nargs="?", default=HERE / "emoji",
                        help="prepared data folder (default: emoji, beside this script)")
    parser.add_argument("--features", default="{split}_ims.npy", metavar="NAME",
                        help="file of a split's features, or folder of such files (default: %(default)s)")
    parser.add_argument("--splits", default="test,test_new", metavar="NAME,...",
                        help="what to evaluate (default: %(default)s, as far as they are there)")
    parser.add_argument("--ties", choices=TIES, default="expected", help="how equal scores rank (default: %(default)s)")
    options = parser.parse_args()
    try:
        train = Split(options.folder, "train", options.features)
        asked = options.splits.split(",")
        names = [name for name in asked if name == asked[0] or (options.folder / f"{name}_caps.txt").exists()]
        print("             image->text            text->image")
        print("             R@1    R@5   R@10      R@1    R@5   R@10")
        for name in names:
            to_text, to_image = evaluate(train, Split(options.folder, name, options.features), TIES[options.ties])
            print(f"{name:9s}" + "".join(f"{value:7.1f}" for value in to_text) + "  "
                  + "".join(f"{value:7.1f}" for value in to_image))
    except (FeatureError, npy_file.NpyError, text_file.TextError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_the_result()
    sys.exit(main())
