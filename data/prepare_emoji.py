#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prepare the bundled demo data: the emoji of Debian's colour font with their English captions.

Writes an ordinary data folder, for split in train, dev, test, test_new:

    {split}_ims.npy     float32 (images, 36, 61), region features standardised with train's statistics
    {split}_caps.txt    one caption a line, grouped by image, in the order of the images
    {split}_ids.txt     for each caption, the row of its image in {split}_ims.npy
    {split}_names.txt   for each image, the emoji, a tab, its name
    thumbs/{split}/     for each image, a 72x72 PNG named by its row
    pictures/{split}/   with --pictures: for each image, a PNG of 136x128, as drawn, and
    {split}_pictures.txt  their names, for models that begin with pixels
    boxes.npy           (36, 4): left, top, right, bottom of each region, as parts of the picture
    stats.json          the statistics, to prepare new pictures with
    SOURCES.txt         packages, licences, counts

Needs Debian's python3-pil, python3-numpy, fonts-noto-color-emoji and unicode-cldr-core.
The same packages and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while the data folder was prepared", pillow=True)
    import numpy as np

    import fresh_folder
    import printing
    from emoji_prep import PreparationError, captions, cldr, folder, pictures, splits
except ImportError as error:
    missing_package.stop(error)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prepare the emoji data folder from Debian's emoji font and Unicode's English names."
    )
    parser.add_argument("out", nargs="?", type=Path, default=HERE / "emoji", metavar="OUT_DIR",
                        help="folder to write (default: emoji, beside this script)")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits (default: 0)")
    parser.add_argument("--pictures", action="store_true", help="keep the pictures too, for models that begin with pixels")
    parser.add_argument("--font", type=Path, default=pictures.FONT, help="default: %(default)s")
    parser.add_argument("--cldr", type=Path, default=cldr.CLDR_DIR, help="default: %(default)s")
    return parser.parse_args()


def words_of(groups: list[list[str]]) -> list[str]:
    return [word for group in groups for caption in group for word in caption.split()]


def summarise(
    named: int, left_out: Counter[str], sentences: dict[str, list[list[str]]], concepts: dict[str, int], ambiguous: int
) -> list[str]:
    """What was made, in lines for the terminal and for SOURCES.txt."""
    kept = sum(map(len, sentences.values()))
    lines = [f"{named} named sequences, {kept} pictures kept; left out:"]
    lines += [f"  {left_out[why]:5d}  {pictures.WHY_LEFT_OUT[why]}" for why in pictures.LEFT_OUT]
    vocabulary = set(words_of(sentences["train"]))
    lines.append("split      images  concepts  captions  unknown words")
    for name, groups in sentences.items():
        words = words_of(groups)
        unknown = 100.0 * sum(word not in vocabulary for word in words) / max(1, len(words))
        lines.append(f"{name:9s} {len(groups):7d} {concepts[name]:9d} {sum(map(len, groups)):9d} {unknown:13.1f}%")
    every = [caption for groups in sentences.values() for group in groups for caption in group]
    lengths = [len(caption.split()) for caption in every]
    fewer = sum(len(group) < captions.CAPTIONS_PER_IMAGE for groups in sentences.values() for group in groups)
    lines.append(f"vocabulary of train {len(vocabulary)} words; captions of {sum(lengths) / len(lengths):.1f} words "
                 f"on average, at most {max(lengths)}")
    lines.append(f"{ambiguous} texts dropped because they stand for several images; "
                 f"{fewer} images have fewer than {captions.CAPTIONS_PER_IMAGE} captions")
    return lines


def prepare(out: Path, seed: int, font_path: Path, cldr_dir: Path, keep_pictures: bool) -> list[str]:
    """Make the whole folder; the summary's lines."""
    font = pictures.load_font(font_path)
    named = cldr.read_emoji(cldr_dir)
    with fresh_folder.replacing(out, folder.SOURCES) as fresh:
        images, thumbnails, left_out = pictures.choose(named, font)
        sentences, ambiguous = captions.captions_of_all(images)
        if not all(sentences):
            speechless = next(one for one, group in zip(images, sentences) if not group)
            raise PreparationError(f"every caption of '{speechless.name}' stands for another image too")
        rows = splits.split(images, seed)
        raw = np.stack([pictures.describe(image) for image in thumbnails])
        mean, deviation = pictures.statistics(raw[rows["train"]])
        for name, chosen in rows.items():
            folder.write_split(
                fresh, name, pictures.standardise(raw[chosen], mean, deviation),
                [sentences[row] for row in chosen], [images[row] for row in chosen],
                [thumbnails[row] for row in chosen],
            )
            if keep_pictures:
                folder.write_pictures(fresh, name, [pictures.draw(images[row].text, font) for row in chosen])
        np.save(fresh / "boxes.npy", pictures.region_boxes())
        folder.write_statistics(fresh, mean, deviation)
        summary = summarise(
            len(named), left_out,
            {name: [sentences[row] for row in chosen] for name, chosen in rows.items()},
            {name: len({splits.base_of(images[row]) for row in chosen}) for name, chosen in rows.items()},
            ambiguous,
        )
        folder.write_sources(fresh, [f"Seed {seed}.", *summary])
    return summary


def main() -> int:
    options = arguments()
    try:
        summary = prepare(options.out, options.seed, options.font, options.cldr, options.pictures)
    except (PreparationError, fresh_folder.FolderError, OSError) as error:
        return printing.refuse(error)
    print("\n".join([*summary, f"written to {options.out}"]))
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
