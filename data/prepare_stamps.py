#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prepare the stamps of Tux Paint, photographs and drawings with an English sentence each, as a data folder.

    sh scripts/install-packages data stamps
    data/prepare_stamps.py data/stamps

Debian's tuxpaint-stamps-default has them. Its photographs are referred to where the package put them; what is there
only as a drawing (SVG) is rendered into FOLDER/pictures. Letters, numbers, notes and chess pieces, whose sentences
say nothing of what is seen, are left out. The folder is that of `data/prepare`, checked and drawn by seed as there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while the data folder was prepared", pillow=True)
    import fresh_folder
    import printing
    import text_file
    from emoji_prep.folder import package_version
    from prepare_folder import Entry, SourceError, drawings, output, whole
    from prepare_folder.folders import walk
    from prepare_folder.problems import Problems
except ImportError as error:
    missing_package.stop(error)

STAMPS = Path("/usr/share/tuxpaint/stamps")
PACKAGE = "tuxpaint-stamps-default"
LEFT_OUT = ("symbols/alphabets", "symbols/math", "symbols/music", "symbols/chess")
SPLITS = "train=70,dev=10,test=20"

LICENCE = f"""Prepared from this Debian package:

{{package}}
    Pictures and sentences: Copyright 2002-2022 Bill Kendrick and the contributors that its documents name,
    GNU General Public License, version 2.
    Full text: /usr/share/doc/{PACKAGE}/copyright
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prepare a data folder of Tux Paint's stamps.")
    parser.add_argument("out", nargs="?", type=Path, default=HERE / "stamps", metavar="OUT_DIR",
                        help="folder to write (default: stamps, beside this script)")
    parser.add_argument("--stamps", type=Path, default=STAMPS, help="default: %(default)s")
    parser.add_argument("--splits", default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits (default: 0)")
    parser.add_argument("--side", type=int, default=256, help="longer side of rendered drawings (default: %(default)s)")
    return parser.parse_args()


def find_stamps(root: Path) -> list[tuple[Path, Path]]:
    """Each text that has a picture or a drawing of its name, with that; a picture rather than a drawing."""
    files = list(walk(root))
    there = set(files)
    found = []
    for text in files:
        name = text.relative_to(root).as_posix()
        if text.suffix != ".txt" or name.startswith(LEFT_OUT):
            continue
        picture = next((path for path in map(text.with_suffix, (".png", ".svg")) if path in there), None)
        if picture:
            found.append((text, picture))
    if not found:
        raise SourceError(f"{root}: no stamps, expected those of the Debian package {PACKAGE}: "
                          "sh scripts/install-packages stamps")
    return found


def entries_of(root: Path, fresh: Path, side: int) -> tuple[list[Entry], dict[Path, str]]:
    """The stamps as a source of `data/prepare`; its drawings are rendered into `fresh`, if they can be."""
    stamps = find_stamps(root)
    rendered = {picture: (fresh / "pictures" / picture.relative_to(root)).with_suffix(".png")
                for _, picture in stamps if picture.suffix == ".svg"}
    broken = drawings.render_all(rendered, side)
    entries = []
    for text, picture in stamps:
        if picture not in broken:
            # The first line is English; the others are the same in other languages.
            sentence = text_file.lines(text)[:1]
            name = picture.relative_to(root).with_suffix(".png").as_posix()
            folder = fresh / "pictures" if picture in rendered else root
            entries.append(Entry(name, sentence, "", f"{text}:1", [folder]))
    return entries, broken


def prepare(options: argparse.Namespace) -> None:
    problems = Problems()
    with output.folder(options.out, overwrite=True) as fresh:
        entries, broken = entries_of(options.stamps, fresh, options.side)
        for drawing, reason in broken.items():
            print(f"note: {drawing}: {reason}: left out")
        choices = whole.Options(options.splits, options.seed, decode=True, listed=3)
        found = whole.examine(entries, choices, problems)
        text = LICENCE.format(package=package_version(PACKAGE))
        (fresh / "SOURCES.txt").write_text(text, encoding="utf-8")
        whole.write(found, options.out, fresh, choices, [str(options.stamps)])
    print(f"written to {options.out}")


def main() -> int:
    try:
        prepare(arguments())
    except (SourceError, text_file.TextError, fresh_folder.FolderError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be in no character set
    printing.is_beside_the_work()
    sys.exit(main())
