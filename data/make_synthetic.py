#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make a data folder of a published data set's exact sizes and formats, from random numbers.

    make_synthetic.py --like flickr30k OUT      29,000 / 1,014 / 1,000 images, 8,481 words
    make_synthetic.py --like coco OUT           113,287 / 5,000 / 5,000 images, 11,755 words
    make_synthetic.py --like emoji OUT          2,461 / 300 / 300 images, 2,576 words: the bundled data's, each
                                                image with features of width 61 and captions of 5 words

    {split}_ims.npy      float32 (images, 36, 2048) for split in train, dev, test
    {split}_caps.txt     5 captions an image, one a line, in the order of the images
    vocabulary.json      {"word2idx", "idx2word", "idx"}; <pad> <start> <end> <unk> are 0 to 3
    glove.txt            with --glove WORDS WIDTH: a word and its numbers a line

With --as-published it is the folder that SCAN's authors distribute: dev and test have each image five times, in
rows next to each other, COCO has testall (5,000 images) beside test and dev (1,000 each), and {split}_ids.txt has
numbers of the original data set, one a row. [data] images_repeated = 5 and ids = names read it.

It is for trying and timing the full-size path: nothing can be learned from it. Features are written
for --fill images a split, spread evenly; the others stay holes in the file, read as zero and taking
no space (a Flickr30K folder looks 9 GB large and takes 0.25 GB). A model that divides by a norm without
epsilon, as the released code does, gives NaN for zero features: fill every image for it.

Captions follow Zipf's law; each word of the vocabulary occurs in train at least 4 times, and about one
token in a hundred is a word too rare for it, so that the vocabulary built from train with minimum count
4 is that of vocabulary.json. This takes enough tokens: with fewer than about 1,200 images (COCO: 1,600) the
vocabulary keeps its size and some of its words occur less.

The same options give the same bytes. Needs Debian's python3-numpy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain, count, islice, product
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while the data folder was made", pillow=False)
    import numpy as np

    import feature_file
    import printing
except ImportError as error:
    missing_package.stop(error)

CAPTIONS, MIN_COUNT, LONGEST = 5, 4, 80  # Flickr30K's longest caption has about 80 words
SPECIALS = ["<pad>", "<start>", "<end>", "<unk>"]
SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvzcwyx" for vowel in "aeiou"]
ODD_WORDS = [". . .", "at name@domain.com", "café"]  # as glove.840B has them: with spaces, not ASCII


class Published(NamedTuple):
    """Sizes of a data set as its users publish them."""

    images: dict[str, int]
    vocabulary: int  # with the four special words
    regions: int = 36
    width: int = 2048  # of a region's features
    mean_words: float = 12.0  # of a caption, its full stop not counted


PUBLISHED = {
    "flickr30k": Published({"train": 29000, "dev": 1014, "test": 1000}, 8481),
    "coco": Published({"train": 113287, "dev": 5000, "test": 5000}, 11755),
    "emoji": Published({"train": 2461, "dev": 300, "test": 300}, 2576, width=61, mean_words=5.0),
}
DISTRIBUTED = {
    "flickr30k": PUBLISHED["flickr30k"],
    "coco": Published({"train": 113287, "dev": 1000, "test": 1000, "testall": 5000}, 11755),
}


def all_words() -> Iterator[str]:
    """Endlessly many different words, short ones first: ba, be, ... baba, babe, ... Not one is split by a tokeniser."""
    return ("".join(parts) for length in count(1) for parts in product(SYLLABLES, repeat=length))


def write_features(path: Path, shape: tuple[int, int, int], rows: int, fill: int, rng: np.random.Generator) -> None:
    """Of `shape` images, regions and width: as detectors give them, not negative; `fill` images spread evenly, the
    others are holes. Each image stands in `rows` rows.
    """
    images, *size = shape
    fill = min(fill, images)
    with feature_file.create(path, (rows * images, *size)) as out:
        for number in range(fill):
            features = rng.standard_exponential(size, np.float32)
            for row in range(rows):
                out.write(number * images // fill * rows + row, features)


def write_names(path: Path, images: int, rows: int) -> None:
    """Numbers that an original data set might give its images, one line a row."""
    path.write_text("".join(f"{1031 + 7 * number}\n" * rows for number in range(images)), encoding="utf-8")


def caption_lengths(captions: int, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Words of each caption, log-normal with this mean."""
    spread = 0.4
    lengths = rng.lognormal(np.log(mean) - spread**2 / 2, spread, captions)
    return np.clip(np.rint(lengths), 3, LONGEST).astype(np.int64)


def draw_words(tokens: int, vocabulary: int, rare_from: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Word numbers in random order, and the first number no split has used.

    Numbers below `vocabulary` follow Zipf's law, each at least MIN_COUNT times where there is room;
    one token in a hundred is a word numbered from `rare_from`, which occurs one to three times.
    """
    rare = np.repeat(np.arange(tokens // 200), 1 + np.arange(tokens // 200) % (MIN_COUNT - 1)) + rare_from
    common = tokens - len(rare)
    odds = 1.0 / (np.arange(vocabulary) + 2.7)
    least = MIN_COUNT if common >= 2 * MIN_COUNT * vocabulary else 0
    counts = least + rng.multinomial(common - least * vocabulary, odds / odds.sum())
    drawn = np.concatenate([np.repeat(np.arange(vocabulary), counts), rare])
    rng.shuffle(drawn)
    return drawn, rare_from + tokens // 200


def write_captions(path: Path, words: list[str], drawn: np.ndarray, lengths: np.ndarray) -> None:
    """One sentence a line: a capital letter first, a full stop last."""
    tokens = [words[number] for number in drawn.tolist()]
    ends = np.cumsum(lengths).tolist()
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for start, end in zip([0, *ends], ends):
            stream.write(" ".join(tokens[start:end]).capitalize() + ".\n")


def vocabulary_of(words: list[str], size: int, train: np.ndarray, captions: int) -> list[str]:
    """The vocabulary that is built from train: the most frequent word first, equals by their bytes."""
    known = size - len(SPECIALS) - 1
    counts = np.bincount(train, minlength=known)[:known].tolist()
    ranked = sorted([*zip(counts, words), (captions, ".")], key=lambda one: (-one[0], one[1].encode()))
    return SPECIALS + [word for _, word in ranked]


def write_vocabulary(path: Path, vocabulary: list[str]) -> None:
    content = {
        "word2idx": {word: number for number, word in enumerate(vocabulary)},
        "idx2word": {str(number): word for number, word in enumerate(vocabulary)},
        "idx": len(vocabulary),
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def glove_words(vocabulary: list[str], others: Iterator[str]) -> Iterator[str]:
    """First those of the vocabulary, but one in 32 (published vectors lack some), then others."""
    known = (word for number, word in enumerate(vocabulary[len(SPECIALS):]) if number % 32 != 31)
    return chain(known, ODD_WORDS, others)


def write_glove(path: Path, words: Iterator[str], lines: int, width: int, rng: np.random.Generator) -> None:
    """`lines` lines "word v1 ... v_width", as the published GloVe files are."""
    values = rng.permutation(np.linspace(-0.99999, 0.99999, 1 << 16))
    # Every number is " " and eight characters (a minus sign costs a decimal), so that lines can be cut from one table.
    table = np.array([f" {value:.{5 if value < 0 else 6}f}" for value in values], "S9").view("V9")
    with open(path, "wb") as stream:
        while block := list(islice(words, min(lines, 8192))):
            text = table[rng.integers(0, 1 << 16, (len(block), width), np.uint16)].tobytes()
            step = width * table.itemsize
            stream.write(b"".join(word.encode() + text[row * step:(row + 1) * step] + b"\n"
                                  for row, word in enumerate(block)))
            lines -= len(block)


def make(options: argparse.Namespace) -> list[str]:
    """Writes the folder; the summary's lines."""
    published = (DISTRIBUTED if options.as_published else PUBLISHED)[options.like]
    known = published.vocabulary - len(SPECIALS) - 1  # the full stop ends each caption and is not drawn
    out: Path = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    summary = []
    drawn, lengths, rare = {}, {}, known
    seeds = np.random.SeedSequence(options.seed).spawn(2 * len(published.images) + 1)
    for split, images in published.images.items():
        images = min(images, options.images or images)
        rows = CAPTIONS if options.as_published and split != "train" else 1
        write_features(out / f"{split}_ims.npy", (images, options.regions or published.regions, published.width), rows,
                       options.fill, np.random.default_rng(seeds.pop()))
        if options.as_published:
            write_names(out / f"{split}_ids.txt", images, rows)
        rng = np.random.default_rng(seeds.pop())
        lengths[split] = caption_lengths(images * CAPTIONS, options.mean_words or published.mean_words, rng)
        drawn[split], rare = draw_words(int(lengths[split].sum()), known, rare, rng)
        summary.append(f"{split}: {images} images, {min(options.fill, images)} with features; {len(lengths[split])} "
                       f"captions of {lengths[split].mean():.2f} words, at most {lengths[split].max()}")
    source = all_words()
    words = list(islice(source, rare))
    for split in drawn:
        write_captions(out / f"{split}_caps.txt", words, drawn[split], lengths[split])
    vocabulary = vocabulary_of(words, published.vocabulary, drawn["train"], len(lengths["train"]))
    write_vocabulary(out / "vocabulary.json", vocabulary)
    summary.append(f"vocabulary: {len(vocabulary)} words, {rare - known} words too rare for it")
    if options.glove:
        write_glove(out / "glove.txt", glove_words(vocabulary, source), *options.glove,
                    np.random.default_rng(seeds.pop()))
        summary.append(f"glove.txt: {options.glove[0]} words of {options.glove[1]} numbers")
    return summary


def natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def positive(text: str) -> int:
    value = natural(text)
    if value == 0:
        raise ValueError
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a data folder of a published data set's sizes and formats.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--like", choices=tuple(PUBLISHED), required=True, help="whose sizes")
    parser.add_argument("--images", type=positive, metavar="N", help="at most N images a split (default: all)")
    parser.add_argument("--fill", type=natural, default=256, metavar="N",
                        help="images a split with features, the others are zero (default: 256)")
    parser.add_argument("--regions", type=positive, metavar="N", help="of an image (default: 36)")
    parser.add_argument("--mean-words", type=positive, metavar="N",
                        help="of a caption without its full stop (default: 12; emoji: 5)")
    parser.add_argument("--as-published", action="store_true", help="the files as SCAN's authors distribute them")
    parser.add_argument("--glove", type=positive, nargs=2, metavar=("WORDS", "WIDTH"), help="write glove.txt too")
    parser.add_argument("--seed", type=natural, default=0, help="default: 0")
    options = parser.parse_args()
    if options.as_published and options.like not in DISTRIBUTED:
        parser.error(f"--as-published is for --like {' or '.join(DISTRIBUTED)}")
    return options


def main() -> int:
    options = arguments()
    try:
        print("\n".join([*make(options), f"written to {options.out}"]))
    except OSError as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
