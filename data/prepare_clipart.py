#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prepare the Open Clip Art Library, thousands of drawings with titles and keywords, as a data folder.

    sh scripts/install-packages data clipart
    data/prepare_clipart.py data/clipart

Debian's openclipart-svg has them. Each is drawn on white into FOLDER/pictures, on all cores; broken ones and those that
nothing tells from many others are left out. The folder is that of `data/prepare`, checked and drawn by seed as there.
With the stamps of data/prepare_stamps.py, for more to train on:

    data/prepare data/stamps train=data/clipart --out data/drawings
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
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
    from prepare_folder import Entry, SourceError, clipart, drawings, output, whole
    from prepare_folder.folders import walk
    from prepare_folder.problems import Problems
except ImportError as error:
    missing_package.stop(error)

DRAWINGS = Path("/usr/share/openclipart/svg")
PACKAGE = "openclipart-svg"
SPLITS = "train=90,dev=5,test=5"
FOR_PROCESSES = 256  # MiB, without which none is started
SHOWN = 3  # of those that cannot be drawn

LICENCE = f"""Prepared from this Debian package:

{{package}}
    Drawings, titles and keywords: the Open Clip Art Library's contributors, who dedicated them to the public domain
    (Creative Commons Public Domain Dedication).
    Full text: /usr/share/doc/{PACKAGE}/copyright
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prepare a data folder of the Open Clip Art Library.")
    parser.add_argument("out", nargs="?", type=Path, default=HERE / "clipart", metavar="OUT_DIR",
                        help="folder to write (default: clipart, beside this script)")
    parser.add_argument("--drawings", type=Path, default=DRAWINGS, help="default: %(default)s")
    parser.add_argument("--splits", default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits (default: 0)")
    parser.add_argument("--side", type=int, default=224, help="longer side of the pictures (default: %(default)s)")
    return parser.parse_args()


def captioned(root: Path) -> dict[Path, list[str]]:
    """The drawings that have captions, with these."""
    # Debian's package has some of its drawings in two places, one a link to the other.
    paths = [path for path in walk(root) if path.suffix == ".svg" and not path.is_symlink()
             and not path.relative_to(root).as_posix().startswith(clipart.LEFT_OUT)]
    if not paths:
        raise SourceError(f"{root}: no drawings, expected those of the Debian package {PACKAGE}: "
                          "sh scripts/install-packages clipart")
    if memory.is_there(FOR_PROCESSES):
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            read = list(pool.map(clipart.read_drawing, paths, chunksize=64))
    else:
        read = [clipart.read_drawing(path) for path in paths]
    found = clipart.captions_of(filter(None, read))
    print(f"{len(paths):,} drawings, {sum(one is None for one in read):,} that cannot be read, {len(found):,} with captions")
    if not found:
        raise SourceError(f"{root}: no drawing with a title of its own, expected those of {PACKAGE}")
    return found


def entries_of(root: Path, fresh: Path, side: int) -> list[Entry]:
    captions = captioned(root)
    pictures = {path: (fresh / "pictures" / path.relative_to(root)).with_suffix(".png") for path in captions}
    broken = drawings.render_all(pictures, side)
    print(f"{len(pictures) - len(broken):,} drawn, {len(broken):,} not")
    for path, reason in list(broken.items())[:SHOWN]:
        print(f"    {path}: {reason}")
    return [Entry(picture.relative_to(fresh / "pictures").as_posix(), captions[path], "", str(path), [fresh / "pictures"])
            for path, picture in pictures.items() if path not in broken]


def prepare(options: argparse.Namespace) -> None:
    with output.folder(options.out, overwrite=True) as fresh:
        entries = entries_of(options.drawings, fresh, options.side)
        choices = whole.Options(options.splits, options.seed, decode=True, listed=SHOWN)
        found = whole.examine(entries, choices, Problems())
        text = LICENCE.format(package=package_version(PACKAGE))
        (fresh / "SOURCES.txt").write_text(text, encoding="utf-8")
        whole.write(found, options.out, fresh, choices, [str(options.drawings)])
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
