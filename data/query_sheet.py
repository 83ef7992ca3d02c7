#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draw what a trained model finds for sentences: one row a sentence, its best images side by side.

    data/query_sheet.py CONFIG.INI OUT.png SPLIT "a sentence" ["another" ...]

Asks `build/train CONFIG.INI --query` and pastes the thumbnails that data/prepare_emoji.py left in
the data folder. Needs Debian's python3-pil and fonts-dejavu-core.
"""

from __future__ import annotations

import argparse
import configparser
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import printing  # noqa: E402
import text_file  # noqa: E402

TOP = 6
SIDE = 72
GAP = 8
TEXT_WIDTH = 300
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
ANSWER = re.compile(r"^\s*\d+\s+(-?[\d.]+)\s+\S+\s+(\d+)\s", re.MULTILINE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw what a trained model finds for sentences.")
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("split")
    parser.add_argument("sentence", nargs="+")
    parser.add_argument("--train", type=Path, default=Path("build/train"), help="default: %(default)s")
    return parser.parse_args()


def best_images(options: argparse.Namespace, sentence: str) -> list[tuple[float, int]]:
    """Scores and image rows, the best first."""
    command = [options.train, options.config, "--query", sentence, "--split", options.split, "--top", str(TOP)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        sys.exit(answer.stderr.strip())
    return [(float(score), int(row)) for score, row in ANSWER.findall(answer.stdout)]


def main() -> None:
    options = arguments()
    config = configparser.RawConfigParser(inline_comment_prefixes=";", strict=False)
    try:
        config.read_string(text_file.read(options.config))
        folder = config["data"]["folder"].strip('"')
    except (text_file.TextError, OSError, configparser.Error, KeyError) as error:
        sys.exit(f"query_sheet.py: {options.config}: no [data] folder: {error}")
    thumbnails = Path(folder) / "thumbs" / options.split
    font = ImageFont.truetype(str(FONT), 15)
    height = len(options.sentence) * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (TEXT_WIDTH + TOP * (SIDE + GAP) + GAP, height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, sentence in enumerate(options.sentence):
        top = GAP + i * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2), sentence, "black", font, anchor="lm")
        for k, (_, row) in enumerate(best_images(options, sentence)):
            sheet.paste(Image.open(thumbnails / f"{row:04d}.png"), (TEXT_WIDTH + k * (SIDE + GAP), top))
    sheet.save(options.out)


if __name__ == "__main__":
    printing.is_beside_the_work()
    main()
