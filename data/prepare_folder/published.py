# SPDX-License-Identifier: Apache-2.0
"""Captions as data sets publish them: Karpathy's JSON, COCO's JSON, Flickr's files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import text_file
from prepare_folder import Entry, SourceError
from prepare_folder.problems import Problems
from prepare_folder.tables import texts_of

# Flickr30K: "1000092795.jpg| 0| Two young guys ..." after a header; one published row lacks its second bar.
FLICKR_HEADER = re.compile(r"\s*image_name\s*\|\s*comment_number\s*\|\s*comment\s*$")
FLICKR_ROW = re.compile(r"\s*([^|]+?)\s*\|\s*(\d+)\s*\|(.*)$")
FLICKR_BROKEN = re.compile(r"\s*([^|]+?)\s*\|\s*(\d+)\s+(.*)$")
# "1000092795.jpg#0<TAB>Two young guys ..."
TOKEN_ROW = re.compile(r"([^\t#]+)#\d+\t(.*)$")


def need(value: Any, key: str, kind: type, where: str) -> Any:
    """A key of an object, of the kind expected."""
    names = {str: "text", list: "an array", int: "a whole number", dict: "an object"}
    if not isinstance(value, dict):
        raise SourceError(f"{where}: expected an object")
    if not isinstance(value.get(key), kind) or isinstance(value.get(key), bool):
        raise SourceError(f"{where}: '{key}' is {'not there' if key not in value else 'of another kind'}, expected "
                          f"{names[kind]}")
    return value[key]


# --- Karpathy ----------------------------------------------------------------------------------------


def is_karpathy(value: Any) -> bool:
    images = value.get("images") if isinstance(value, dict) else None
    return isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "sentences" in images[0]


def read_karpathy(path: Path, value: Any, folders: list[Path], restval: str) -> Iterator[Entry]:
    """images[]: filename, filepath (COCO's alone), split, sentences[].raw or .tokens."""
    for number, image in enumerate(value["images"]):
        where = f"{path}: images[{number}]"
        name, split = need(image, "filename", str, where), need(image, "split", str, where)
        if split == "restval":
            if restval == "skip":
                continue
            split = "train"
        captions = []
        for sentence in need(image, "sentences", list, where):
            if isinstance(sentence, dict) and isinstance(sentence.get("tokens"), list) and "raw" not in sentence:
                sentence = " ".join(text for word in sentence["tokens"] for text in texts_of(word, where))
            captions += texts_of(sentence, where)
        inside = image.get("filepath")
        places = [folder / inside for folder in folders] if isinstance(inside, str) else []
        yield Entry(name, captions, split, where, [*places, *folders])


# --- COCO --------------------------------------------------------------------------------------------


def is_coco(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("annotations"), list) and isinstance(value.get("images"), list)


def read_coco(path: Path, value: Any, folders: list[Path]) -> Iterator[Entry]:
    """images[]: id, file_name; annotations[]: image_id, caption. The file's name says the split."""
    named = re.search(r"(train|val|test)(20\d\d)?", path.name)
    split = named[1] if named else ""
    places = [*folders, *(folder / named[0] for folder in folders if named)]
    pictures: dict[Any, tuple[str, str]] = {}
    captions: dict[Any, list[str]] = {}
    for number, image in enumerate(value["images"]):
        where = f"{path}: images[{number}]"
        key = need(image, "id", (int), where)
        if key in pictures:
            raise SourceError(f"{where}: 'id' is {key}, which stands for {pictures[key][0]} already")
        pictures[key] = need(image, "file_name", str, where), where
        captions[key] = []
    for number, annotation in enumerate(value["annotations"]):
        where = f"{path}: annotations[{number}]"
        key = need(annotation, "image_id", int, where)
        if key not in pictures:
            raise SourceError(f"{where}: 'image_id' is {key}, expected the 'id' of an image of the file")
        captions[key].append(need(annotation, "caption", str, where))
    for key, (name, where) in pictures.items():
        yield Entry(name, captions[key], split, where, places)


# --- Flickr ------------------------------------------------------------------------------------------


def is_flickr_table(head: str) -> bool:
    return bool(FLICKR_HEADER.match(head))


def read_flickr_table(path: Path, folders: list[Path], problems: Problems) -> Iterator[Entry]:
    for number, line in enumerate(text_file.lines(path), start=1):
        where = f"{path}:{number}"
        if number == 1 or not line.strip():
            continue
        row = FLICKR_ROW.match(line)
        if not row:
            row = FLICKR_BROKEN.match(line)
            if not row:
                raise SourceError(f"{where}: '{line[:40]}', expected IMAGE| NUMBER| CAPTION")
            problems.add("mended", where, f"'{line[:40]}'")
        yield Entry(row[1], [row[3]], "", where, folders)


def is_token_file(head: str) -> bool:
    return bool(TOKEN_ROW.match(head))


def read_token_file(path: Path, folders: list[Path]) -> Iterator[Entry]:
    for number, line in enumerate(text_file.lines(path), start=1):
        if not line.strip():
            continue
        row = TOKEN_ROW.match(line)
        if not row:
            raise SourceError(f"{path}:{number}: '{line[:40]}', expected IMAGE#NUMBER, a tab, and the caption")
        yield Entry(row[1].strip(), [row[2]], "", f"{path}:{number}", folders)
