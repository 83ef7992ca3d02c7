#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turn bottom-up-attention files into the features of one split, {split}_ims.npy.

    convert_features.py --ids train_ids.txt --out train_ims.npy trainval_36.tsv [more.tsv ...]

A TSV line is image_id, image_w, image_h, num_boxes, boxes, features, parted by tabs; boxes and
features are base64 of float32, features num_boxes x width. The ids file names one image a line;
row i of the result is the image of its line i, and an image named twice fills both rows. Images
that the ids file does not name are skipped. Needs Debian's python3-numpy.

One line is in memory at a time, however large the files are. If an image is missing or a line is
wrong, nothing is written and the exit status is 2.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np

    import feature_file
except ImportError as error:
    if error.name != "numpy":
        raise
    print(f"convert_features.py: {sys.executable} has no module numpy: install the Debian package "
          "python3-numpy and run with /usr/bin/python3", file=sys.stderr)
    sys.exit(2)

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LONGEST_LINE = 64 << 20  # a hundred boxes take 1.1 MB; guards memory against files of another kind
LISTED = 10  # missing images on the terminal
DTYPES = {"f32": "<f4", "f16": "<f2"}


class ConversionError(Exception):
    """What is wrong, in one line."""


class Record(NamedTuple):
    """One line of a TSV, not decoded yet."""

    place: str  # file:line
    image: str
    boxes: str
    features: bytes


def read_ids(path: Path) -> dict[str, list[int]]:
    """Image id -> the rows it fills, in the order of the file."""
    rows: dict[str, list[int]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConversionError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    for number, line in enumerate(lines):
        image = line.strip()
        if not image:
            raise ConversionError(f"{path}:{number + 1}: empty line instead of an image id")
        rows.setdefault(image, []).append(number)
    if not rows:
        raise ConversionError(f"{path}: no image ids")
    return rows


def read_records(path: Path) -> Iterator[Record]:
    with open(path, "rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE):
            number += 1
            place = f"{path}:{number}"
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                raise ConversionError(f"{place}: line of over {LONGEST_LINE} bytes")
            fields = line.rstrip(b"\r\n").split(b"\t")
            if len(fields) != len(FIELDS):
                raise ConversionError(f"{place}: {len(fields)} fields parted by tabs, expected the "
                                      f"{len(FIELDS)} fields {' '.join(FIELDS)}")
            image, boxes = (fields[at].decode("utf-8", "backslashreplace").strip() for at in (0, 3))
            yield Record(place, image, boxes, fields[5])


def decode(record: Record, regions: int, width: int, dtype: str) -> np.ndarray:
    """The features of one image, (regions, width), or what is wrong with them."""
    where = f"{record.place}: image {record.image}"
    if record.boxes != str(regions):
        raise ConversionError(f"{where} has {record.boxes} boxes, expected {regions}")
    try:
        data = base64.b64decode(record.features, validate=True)
    except binascii.Error as error:
        raise ConversionError(f"{where}: features are not base64: {error}") from None
    if len(data) != regions * width * 4:
        raise ConversionError(f"{where}: features of {len(data)} bytes, expected "
                              f"{regions} x {width} x 4 = {regions * width * 4}")
    with np.errstate(over="ignore"):
        features = np.frombuffer(data, "<f4").reshape(regions, width).astype(dtype)
    if not np.isfinite(features).all():
        region, place = np.argwhere(~np.isfinite(features))[0]
        raise ConversionError(f"{where}: region {region}, number {place} is {features[region, place]}")
    return features


def missing_message(missing: list[str], total: int, ids: Path, report: Path | None) -> str:
    shown = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
    more = " (--missing FILE lists all)" if len(missing) > LISTED else ""
    where = f" (all in {report})" if report else more
    return f"{len(missing)} of the {total} images of {ids} are in none of the TSV files: {shown}{where}"


def convert(options: argparse.Namespace) -> str:
    """Writes the file; what was done, in one line."""
    rows = read_ids(options.ids)
    images = sum(map(len, rows.values()))
    written: set[str] = set()
    records = repeated = 0
    dtype = DTYPES[options.dtype]
    shape = (images, options.regions, options.width)
    with feature_file.create(options.out, shape, dtype) as out:
        for tsv in options.tsv:
            for record in read_records(tsv):
                records += 1
                if record.image not in rows:
                    continue
                if record.image in written:  # published files repeat a few images where they were joined
                    repeated += 1
                    continue
                features = decode(record, options.regions, options.width, dtype)
                for row in rows[record.image]:
                    out.write(row, features)
                written.add(record.image)
        missing = [image for image in rows if image not in written]
        if missing:
            if options.missing:
                options.missing.write_text("".join(image + "\n" for image in missing), encoding="utf-8")
            raise ConversionError(missing_message(missing, len(rows), options.ids, options.missing))
    return (f"{options.out}: {images} images, {options.regions} x {options.width} {options.dtype}; of {records} "
            f"records {repeated} repeat an image (the first is kept), "
            f"{records - repeated - len(written)} not asked for")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turn bottom-up-attention TSV files into {split}_ims.npy.")
    parser.add_argument("tsv", nargs="+", type=Path, metavar="TSV", help="files of bottom-up attention")
    parser.add_argument("--ids", type=Path, required=True, help="image ids of the split, one a line, in order")
    parser.add_argument("--out", type=Path, required=True, metavar="NPY", help="file to write, {split}_ims.npy")
    parser.add_argument("--regions", type=positive, default=36, help="boxes of each image (default: 36)")
    parser.add_argument("--width", type=positive, default=2048, help="features of each box (default: 2048)")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="f32", help="of the result (default: f32)")
    parser.add_argument("--missing", type=Path, metavar="FILE", help="where to list missing image ids")
    return parser.parse_args()


def main() -> int:
    try:
        print(convert(arguments()))
    except (ConversionError, OSError) as error:
        print(f"convert_features.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
