#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turn bottom-up-attention files into the features of one split, {split}_ims.npy.

    convert_features.py --ids train_ids.txt --out train_ims.npy trainval_36.tsv [more.tsv ...]

A TSV line is image_id, image_w, image_h, num_boxes, boxes, features, parted by tabs; boxes and
features are base64 of float32, features num_boxes x width. The ids file names one image a line;
row i of the result is the image of its line i, and an image named twice fills both rows. Images
that the ids file does not name are skipped. Beside it, {split}_boxes.npy says where each region is, left, top,
right and bottom as parts of the picture, if all records have their boxes. Needs Debian's python3-numpy.

One line is in memory at a time, however large the files are. A record that is cut short or wrong is
passed over and counted: published files have such, followed by the whole one. If an image never comes
whole, nothing is written and the exit status is 2.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402
import missing_package  # noqa: E402

try:
    memory.begin("while features were converted", pillow=False)
    import numpy as np

    import feature_file
    import printing
    import text_file
    import wrong_file
except ImportError as error:
    missing_package.stop(error)

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LONGEST_LINE = 64 << 20  # a hundred boxes take 1.1 MB; guards memory against files of another kind
MOST = 1 << 20  # regions, and numbers of one
LISTED = 10  # missing images on the terminal
DTYPES = {"f32": "<f4", "f16": "<f2"}


class ConversionError(Exception):
    """What is wrong, in one line."""


class WrongRecord(Exception):
    """What is wrong with a record, in one line, and the image that it would be of."""

    def __init__(self, image: str, what: str) -> None:
        super().__init__(what)
        self.image = image


class Record(NamedTuple):
    """One line of a TSV, not decoded yet."""

    place: str  # file:line
    image: str
    size: tuple[bytes, bytes]  # width, height in pixels
    boxes: str  # how many
    corners: bytes
    features: bytes


def read_ids(path: Path) -> dict[str, list[int]]:
    """Image id -> the rows it fills, in the order of the file."""
    rows: dict[str, list[int]] = {}
    for number, line in enumerate(text_file.lines(path)):
        image = line.strip()
        if not image:
            raise ConversionError(f"{path}:{number + 1}: empty line instead of an image id")
        rows.setdefault(image, []).append(number)
    if not rows:
        raise ConversionError(f"{path}: no image ids")
    return rows


def split_record(place: str, line: bytes) -> Record:
    fields = line.rstrip(b"\r\n").split(b"\t")
    image = fields[0].decode("utf-8", "backslashreplace").strip()
    if len(fields) != len(FIELDS):
        raise WrongRecord(image, f"{place}: {len(fields)} fields parted by tabs, expected the {len(FIELDS)} fields "
                          f"{' '.join(FIELDS)}")
    count = fields[3].decode("utf-8", "backslashreplace").strip()
    return Record(place, image, (fields[1], fields[2]), count, fields[4], fields[5])


def read_records(path: Path, wrong: Callable[[WrongRecord], None]) -> Iterator[Record]:
    """The records that have all fields; of others `wrong` is told."""
    kind = wrong_file.kind(path)
    if kind:
        raise ConversionError(f"{path}: {kind}; expected a TSV file of bottom-up attention")
    with open(path, "rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE):
            number += 1
            if number == 1:
                line = text_file.without_mark(path, line)
            place = f"{path}:{number}"
            try:
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(LONGEST_LINE)
                    raise WrongRecord("", f"{place}: line of over {LONGEST_LINE} bytes")
                yield split_record(place, line)
            except WrongRecord as error:
                wrong(error)


def decode(record: Record, regions: int, width: int, dtype: str) -> np.ndarray:
    """The features of one image, (regions, width), or what is wrong with them."""
    where = f"{record.place}: image {record.image}"
    if record.boxes != str(regions):
        raise WrongRecord(record.image, f"{where} has {record.boxes} boxes, expected {regions}")
    try:
        data = base64.b64decode(record.features, validate=True)
    except binascii.Error as error:
        raise WrongRecord(record.image, f"{where}: features are not base64: {error}") from None
    if len(data) != regions * width * 4:
        raise WrongRecord(record.image, f"{where}: features of {len(data)} bytes, expected {regions} x {width} x 4 = "
                          f"{regions * width * 4}")
    with np.errstate(over="ignore"):
        features = np.frombuffer(data, "<f4").reshape(regions, width).astype(dtype)
    if not np.isfinite(features).all():
        region, place = np.argwhere(~np.isfinite(features))[0]
        raise WrongRecord(record.image, f"{where}: region {region}, number {place} is {features[region, place]}")
    return features


def decode_boxes(record: Record, regions: int) -> np.ndarray | None:
    """Left, top, right and bottom of each box, (regions, 4), as parts of the picture's width and height; None if
    the record does not have them whole."""
    try:
        data = base64.b64decode(record.corners, validate=True)
        width, height = map(float, record.size)
    except ValueError:
        return None
    if len(data) != regions * 16 or not (0 < width < np.inf and 0 < height < np.inf):
        return None
    boxes = np.frombuffer(data, "<f4").reshape(regions, 4) / np.array([width, height] * 2)
    return np.clip(boxes, 0, 1).astype("<f4") if np.isfinite(boxes).all() else None


class Boxes:
    """Those of all rows, a few hundred bytes each; none, once a record comes without."""

    def __init__(self, images: int, regions: int) -> None:
        self.rows: np.ndarray | None = np.zeros((images, regions, 4), "<f4")

    def take(self, record: Record, rows: list[int]) -> None:
        if self.rows is None:
            return
        boxes = decode_boxes(record, self.rows.shape[1])
        if boxes is None:
            self.rows = None
        else:
            self.rows[rows] = boxes

    @staticmethod
    def path_beside(features: Path) -> Path | None:
        """{split}_boxes.npy; none beside a file that is no split's."""
        end = "_ims.npy"
        return features.with_name(features.name.removesuffix(end) + "_boxes.npy") if features.name.endswith(end) else None

    def save(self, features: Path) -> str:
        """Beside the features; what is to be said of it. Those of earlier features are gone by now."""
        path = self.path_beside(features)
        if path is None:
            return ""
        if self.rows is None:
            common = path.with_name("boxes.npy")
            return f"\n{common}: is taken for where these regions are, too: if they are not, remove it" if common.exists() else ""
        with feature_file.create(path, self.rows.shape) as out:
            for row, boxes in enumerate(self.rows):
                out.write(row, boxes)
        return f"\n{path}: where the regions are"


class PassedOver:
    """Records that are cut short or wrong: how many, the first, and the first of each image."""

    def __init__(self) -> None:
        self.count = 0
        self.first: dict[str | None, WrongRecord] = {}

    def add(self, error: WrongRecord) -> None:
        self.count += 1
        self.first.setdefault(None, error)
        self.first.setdefault(error.image, error)


def missing_message(missing: list[str], total: int, options: argparse.Namespace, passed: PassedOver) -> str:
    """What is not there, and why, where a record of it was wrong."""
    shown = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
    more = " (--missing FILE lists all)" if len(missing) > LISTED else ""
    where = f" (all in {options.missing})" if options.missing else more
    text = f"{len(missing)} of the {total} images of {options.ids} are whole in none of the TSV files: {shown}{where}"
    if not passed.count:
        return text
    reason = next((passed.first[image] for image in missing if image in passed.first), passed.first[None])
    return f"{text}; {passed.count} records were passed over, such as {reason}"


def write_rows(out: feature_file.FeatureFile, boxes: Boxes, rows: dict[str, list[int]],
               options: argparse.Namespace, passed: PassedOver) -> tuple[set[str], int, int]:
    """Writes every image that comes whole: which, how many records repeat one, how many are of others."""
    written: set[str] = set()
    repeated = others = 0
    dtype = DTYPES[options.dtype]
    for tsv in options.tsv:
        for record in read_records(tsv, passed.add):
            if record.image not in rows:
                others += 1
            elif record.image in written:  # published files repeat a few images where they were joined
                repeated += 1
            else:
                try:
                    features = decode(record, options.regions, options.width, dtype)
                except WrongRecord as error:
                    passed.add(error)
                    continue
                for row in rows[record.image]:
                    out.write(row, features)
                boxes.take(record, rows[record.image])
                written.add(record.image)
    return written, repeated, others


def convert(options: argparse.Namespace) -> str:
    """Writes the files; what was done, a line of each."""
    rows = read_ids(options.ids)
    images = sum(map(len, rows.values()))
    passed = PassedOver()
    shape = (images, options.regions, options.width)
    boxes = Boxes(images, options.regions)
    with feature_file.create(options.out, shape, DTYPES[options.dtype]) as out:
        written, repeated, others = write_rows(out, boxes, rows, options, passed)
        missing = [image for image in rows if image not in written]
        if missing:
            if options.missing:
                options.missing.write_text("".join(image + "\n" for image in missing), encoding="utf-8")
            raise ConversionError(missing_message(missing, len(rows), options, passed))
        # before the features are there: boxes of others would be taken for theirs
        if earlier := Boxes.path_beside(options.out):
            earlier.unlink(missing_ok=True)
    said = (f"{options.out}: {images} images, {options.regions} x {options.width} {options.dtype}; of "
            f"{len(written) + repeated + others + passed.count} records {repeated} repeat an image (the first is "
            f"kept), {others} not asked for")
    if passed.count:
        said += f", {passed.count} cut short or wrong and passed over, such as {passed.first[None]}"
    return said + boxes.save(options.out)


def positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MOST:
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
    except (ConversionError, text_file.TextError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
