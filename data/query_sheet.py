#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draw what a trained model finds for sentences: one row a sentence, its best images side by side.

    data/query_sheet.py CONFIG.INI OUT.png SPLIT "a sentence" ["another" ...]

Asks `build/train CONFIG.INI --query` (a run's folder will do for CONFIG.INI, `all` for SPLIT) and draws the pictures
that {split}_pictures.txt names, or the thumbnails that data/prepare_emoji.py left in the data folder. Needs Debian's
python3-pil and fonts-dejavu-core.
"""

from __future__ import annotations

import argparse
import configparser
import re
import subprocess
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.watch("while the sheet was drawn")
    from PIL import Image, ImageDraw, ImageFont, ImageOps
    from PIL import _imagingft  # noqa: F401  what cannot be loaded later on would be said not to be installed

    Image.init()
    import printing
    import text_file
except ImportError as error:
    missing_package.stop(error)

warnings.simplefilter("ignore")  # of pictures that are read in spite of them

GAP = 8
TEXT_WIDTH = 300
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
FONT_SIZE = 15
LINE = 20
MOST = 4096  # images of a sentence, and pixels of one's side
ANSWER = re.compile(r"^\s*\d+\s+(-?[\d.]+)\s+(\S+)\s+(\d+)\s", re.MULTILINE)


class SheetError(Exception):
    """What is wrong, in one line."""


def positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MOST:
        raise ValueError
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw what a trained model finds for sentences.")
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("split", help="all: those of every split")
    parser.add_argument("sentence", nargs="+")
    parser.add_argument("--train", type=Path, default=Path("build/train"), help="default: %(default)s")
    parser.add_argument("--top", type=positive, default=6, help="images of a sentence (default: %(default)s)")
    parser.add_argument("--side", type=positive, help="of an image (default: 72 of thumbnails, 112 of pictures)")
    return parser.parse_args()


def best_images(options: argparse.Namespace, sentence: str) -> list[tuple[str, int]]:
    """Splits and image rows, the best first."""
    command = [str(options.train.absolute()), options.config, "--query", sentence, "--top", str(options.top)]
    if options.split != "all":
        command += ["--split", options.split]
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if answer.returncode:
        raise SheetError((answer.stderr.strip().splitlines() or [f"{options.train}: status {answer.returncode}"])[-1])
    found = [(split, int(row)) for _, split, row in ANSWER.findall(answer.stdout)]
    if not found:
        raise SheetError(f"{options.train} {options.config} --query '{sentence}': no images in its answer")
    return found


def data_folder(path: Path) -> Path:
    """Of a configuration, or of a run's folder."""
    config = configparser.RawConfigParser(inline_comment_prefixes=";", strict=False)
    path = path / "config.ini" if path.is_dir() else path
    try:
        config.read_string(text_file.read(path))
        return Path(config["data"]["folder"].strip('"'))
    except configparser.Error as error:
        raise SheetError(f"{path}: {str(error).splitlines()[0]}") from None
    except KeyError:
        raise SheetError(f"{path}: no [data] folder, expected that of the pictures") from None


class Pictures:
    """The pictures of a data folder's splits, as squares of one size."""

    def __init__(self, folder: Path, side: int | None) -> None:
        self.folder = folder
        self.has_thumbnails = (folder / "thumbs").is_dir()
        self.side = side or (72 if self.has_thumbnails else 112)
        self.names: dict[str, list[str]] = {}

    def path(self, split: str, row: int) -> Path:
        if self.has_thumbnails:
            return self.folder / "thumbs" / split / f"{row:04d}.png"
        if split not in self.names:
            self.names[split] = text_file.lines(self.folder / f"{split}_pictures.txt")
        names = self.names[split]
        if row >= len(names):
            raise SheetError(f"{self.folder}/{split}_pictures.txt: {len(names)} pictures, expected one for image {row}")
        return self.folder / names[row]

    def square(self, split: str, row: int) -> Image.Image:
        """The whole picture, upright, in the middle of a white square."""
        path = self.path(split, row)
        try:
            with Image.open(path) as picture:
                picture.draft("RGB", (4 * self.side, 4 * self.side))
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises whatever it likes at a damaged picture
            raise SheetError(f"{path}: no picture, or a broken one ({error})") from None
        inside = ImageOps.contain(upright, (self.side, self.side), Image.Resampling.LANCZOS)
        square = Image.new("RGBA", (self.side, self.side), "white")
        square.alpha_composite(inside, ((self.side - inside.width) // 2, (self.side - inside.height) // 2))
        return square.convert("RGB")


def wrapped(sentence: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """In lines that fit beside the images."""
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= TEXT_WIDTH - 2 * GAP or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw(options: argparse.Namespace) -> Image.Image:
    pictures = Pictures(data_folder(options.config), options.side)
    try:
        font = ImageFont.truetype(str(FONT), FONT_SIZE)
    except OSError as error:
        raise SheetError(f"{FONT}: {error}, expected that of the Debian package fonts-dejavu-core") from None
    step = pictures.side + GAP
    sheet = Image.new("RGB", (TEXT_WIDTH + options.top * step + GAP, len(options.sentence) * step + GAP), "white")
    drawing = ImageDraw.Draw(sheet)
    for i, sentence in enumerate(options.sentence):
        top = GAP + i * step
        lines = wrapped(sentence, font)
        for k, line in enumerate(lines):
            middle = top + pictures.side // 2 + k * LINE - (len(lines) - 1) * LINE // 2
            drawing.text((GAP, middle), line, "black", font, anchor="lm")
        for k, (split, row) in enumerate(best_images(options, sentence)):
            sheet.paste(pictures.square(split, row), (TEXT_WIDTH + k * step, top))
    return sheet


def main() -> int:
    options = arguments()
    try:
        draw(options).save(options.out)
    except (SheetError, text_file.TextError, OSError, ValueError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
