#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turn the judgments that the PyPI package eccv-caption ships for COCO's test split into what `--judgments` reads.

    python3 -m venv VENV && VENV/bin/pip install eccv-caption
    convert_judgments.py eccv VENV/lib/python3*/site-packages/eccv_caption eccv.json
    convert_judgments.py cxc VENV/lib/python3*/site-packages/eccv_caption cxc.json

Rows are those of the 5,000 images and 25,000 captions in their published order, the one of `testall_caps.txt`. For
captions in another order --captions names a file with the COCO id of each, a line each. Judgments of captions and
images that are not there are left out, and said.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while judgments were converted", pillow=False)
    import fresh_file
    import npy_file
    import printing
except ImportError as error:
    missing_package.stop(error)

NAMES = {"eccv": "ECCV Caption", "cxc": "Crisscrossed Captions", "original": "COCO"}
Judged = dict[int, list[int]]


class ConversionError(Exception):
    """What is wrong, in one line."""


def read_judged(path: Path) -> Judged:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {int(query): [int(answer) for answer in answers] for query, answers in found.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ConversionError(f"{path}: expected JSON {{\"QUERY\": [ANSWER, ...], ...}} of numbers") from None


def read_ids(package: Path, captions: Path | None) -> list[int]:
    """The COCO id of each caption of the split."""
    path = captions or package / "data" / "coco_test_ids.npy"
    try:
        ids = [int(i) for i in (path.read_text(encoding="utf-8").split() if captions else npy_file.read(path))]
    except (ValueError, TypeError, OverflowError):
        raise ConversionError(f"{path}: expected the id of a caption a line") from None
    if len(set(ids)) != len(ids):
        raise ConversionError(f"{path}: an id is there twice")
    return ids


def image_rows(package: Path, ids: list[int]) -> dict[int, int]:
    """The row of each COCO image, in the order in which the captions name them."""
    path = package / "data" / "original_caption_to_image.json"
    image_of = read_judged(path)
    rows: dict[int, int] = {}
    for caption in ids:
        if caption not in image_of:
            raise ConversionError(f"{path}: caption {caption} is not there, none of COCO's test split")
        if not image_of[caption]:
            raise ConversionError(f"{path}: caption {caption} has no image, expected one")
        rows.setdefault(image_of[caption][0], len(rows))
    return rows


def renumber(judged: Judged, queries: dict[int, int], answers: dict[int, int]) -> tuple[Judged, int]:
    """The same by rows, and how many judgments are left out."""
    out: Judged = {}
    left_out = 0
    for query, right in judged.items():
        rows = sorted({answers[a] for a in right if a in answers}) if query in queries else []
        left_out += len(set(right)) - len(rows)
        if rows:
            out[queries[query]] = rows
    return dict(sorted(out.items())), left_out


def convert(which: str, package: Path, captions: Path | None, out: Path) -> str:
    """Writes the file; what was done, in one line."""
    ids = read_ids(package, captions)
    of_caption = {caption: row for row, caption in enumerate(ids)}
    of_image = image_rows(package, ids)
    data = package / "data"
    i2t, lost = renumber(read_judged(data / f"{which}_image_to_caption.json"), of_image, of_caption)
    t2i, lost_too = renumber(read_judged(data / f"{which}_caption_to_image.json"), of_caption, of_image)
    with fresh_file.replacing(out, "utf-8") as file:
        json.dump({"name": NAMES[which], "image_to_text": i2t, "text_to_image": t2i}, file)
        file.write("\n")
    said = f"{out}: {len(i2t)} images, {len(t2i)} captions"
    return said + (f", {lost + lost_too} judgments left out" if lost + lost_too else "")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turn the judgments of the package eccv-caption into JSON by rows.")
    parser.add_argument("which", choices=sorted(NAMES))
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="the folder eccv_caption")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--captions", type=Path, metavar="FILE", help="the COCO id of each caption of the split")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        print(convert(options.which, options.package, options.captions, options.out))
    except (ConversionError, npy_file.NpyError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
