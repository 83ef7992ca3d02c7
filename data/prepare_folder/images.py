# SPDX-License-Identifier: Apache-2.0
"""From entries to images: pictures are found, captions brought together, and doubles made one."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from prepare_folder import Caption, Entry, Image, SourceError, is_line
from prepare_folder.folders import PICTURE_ENDINGS
from prepare_folder.problems import Problems

# Of a picture in two splits, the copy that stays with --skip shared: what is held out stays held out.
HELD_OUT = ("test", "dev")


def find(entry: Entry, problems: Problems) -> Path | None:
    """The picture's file, absolute, or a problem."""
    if "://" in entry.picture:
        problems.add("missing", entry.where, f"{entry.picture[:80]} is an address, expected a file: download the pictures")
        return None
    if not is_line(entry.picture):
        raise SourceError(f"{entry.where}: {entry.picture[:80]!r}, expected a picture's name in UTF-8 and in one line")
    endings = ("",) if Path(entry.picture).suffix else ("", *PICTURE_ENDINGS)
    names = [entry.picture + ending for ending in endings]
    if "\\" in entry.picture:  # of a table that was written where folders are parted so
        names.append(entry.picture.replace("\\", "/"))
    for path in (os.path.abspath(folder / name) for folder in entry.folders for name in names):
        if os.path.isfile(path):
            return Path(path)
    problems.add("missing", entry.where, f"{entry.picture} is not there, expected a file in {entry.folders[0]}")
    return None


def gather(entries: Iterable[Entry], problems: Problems) -> list[Image]:
    """Each picture once, in the order in which sources name them."""
    images: dict[Path, Image] = {}
    found: dict[tuple[str, Path], Path | None] = {}
    shared: set[tuple[Path, str]] = set()  # what has been told of
    for entry in entries:
        key = entry.picture, entry.folders[0]
        if key not in found:
            found[key] = find(entry, problems)
        path = found[key]
        if not path:
            continue
        new = Image(path, entry.picture, entry.split, entry.where)
        image = images.setdefault(path, new)
        captions = [Caption(text, entry.where) for text in entry.captions]
        if image.split != entry.split:
            if not image.split or not entry.split:
                raise SourceError(f"{entry.where}: {entry.picture} has split '{entry.split}' here and "
                                  f"'{image.split}' in {image.where}, expected a split everywhere or nowhere")
            if (path, entry.split) not in shared:
                problems.add("shared", entry.where, f"{entry.picture} is in {entry.split} here and in {image.split} in "
                                                    f"{image.where}")
            shared |= {(path, entry.split), (path, image.split)}
            image.split = most_held_out(image.split, entry.split)
        image.captions += captions
    if not images:
        places = next(iter(problems.found["missing"]), "")
        raise SourceError(f"{places or 'no pictures'}; none of the pictures is there: --pictures FOLDER says where they "
                          "lie")
    return list(images.values())


def most_held_out(*splits: str) -> str:
    order = {name: place for place, name in enumerate(HELD_OUT)}
    return min(splits, key=lambda name: (order.get(name, len(order)), name == "train"))


# --- captions --------------------------------------------------------------------------------------


def clean_captions(images: list[Image], problems: Problems) -> list[Image]:
    """One line each, none empty, none twice; images without any are left out."""
    for image in images:
        kept: dict[str, Caption] = {}
        for caption in image.captions:
            text = clean(caption)
            if not text:
                problems.add("empty", caption.where, f"of {image.name}")
            elif text in kept:
                problems.add("repeated", caption.where, f"'{text[:60]}', which {kept[text].where} has")
            else:
                kept[text] = Caption(text, caption.where)
        image.captions = list(kept.values())
        if not kept:
            problems.add("uncaptioned", image.where, image.name)
    return [image for image in images if image.captions]


def clean(caption: Caption) -> str:
    text = " ".join(caption.text.split())
    if "\0" in text:
        raise SourceError(f"{caption.where}: a NUL character in a caption, expected text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceError(f"{caption.where}: half a surrogate pair (U+{ord(text[error.start]):04X}) in a caption, "
                          "expected text") from None
    return text


def find_leaked(images: list[Image], problems: Problems) -> None:
    """Captions of train, whatever their case, that are another split's too."""
    train = {caption.text.lower(): caption.where for image in images if image.split == "train"
             for caption in image.captions}
    for image in images:
        for caption in image.captions:
            if image.split != "train" and caption.text.lower() in train:
                problems.add("leaked", caption.where,
                             f"'{caption.text[:60]}' of {image.split}, also in {train[caption.text.lower()]}")


# --- the same file under two names ------------------------------------------------------------------


def digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def join_same(images: list[Image], problems: Problems) -> list[Image]:
    """Pictures of the same bytes become one, with the captions of both; in two splits they are a problem."""
    by_size: dict[int, list[Image]] = defaultdict(list)
    for image in images:
        by_size[image.path.stat().st_size].append(image)
    first: dict[bytes, Image] = {}
    gone: set[int] = set()
    for image in (image for group in by_size.values() if len(group) > 1 for image in group):
        same = first.setdefault(digest(image.path), image)
        if same is image:
            continue
        if same.split == image.split:
            problems.add("same", image.where, f"{image.name} is {same.name} ({same.where})")
        else:
            problems.add("shared", image.where, f"{image.name} of {image.split} is {same.name} of {same.split} "
                                                f"({same.where})")
            same.split = most_held_out(same.split, image.split)
        same.captions += image.captions
        gone.add(id(image))
    return [image for image in images if id(image) not in gone]
