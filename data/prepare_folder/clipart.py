# SPDX-License-Identifier: Apache-2.0
"""Captions of Open Clip Art's drawings, from the titles, keywords and descriptions in them, and from file names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import errors

NO_MEMORY = errors.codes[errors.XML_ERROR_NO_MEMORY]
WORK = ".//{*}Work"
# Of drawings by the hundred whose captions say little: cards, stars of n points, themes' icons, patterns.
LEFT_OUT = ("shapes/", "special/", "recreation/games/cards/", "computer/icons/flat-theme/", "computer/icons/lemon-theme/",
            "computer/icons/etiquette-theme/", "signs_and_symbols/led/", "signs_and_symbols/map_symbols/",
            "unsorted/duplicates/")
# A text that more drawings have is a collection's, an author's, or too general to find one by.
OF_ONE = 6
MOST_WORDS = 25
NO_KEYWORDS = {"hash", "unsorted", "special", "icon", "icons", "theme", "clip art", "clipart", "appicon", "shape",
               "signs and symbols", "united nations member", "public domain", "mapsym", "various", "mime-types",
               "mimetypes", "open clip art library"}
NOT_SAID = re.compile(r"hash|0x[0-9a-f]|https?:|www\.|@|^\W*$", re.IGNORECASE)
BEFORE_TITLE = re.compile(r"^(?:clip ?art by [^-]+ - |part of )", re.IGNORECASE)
NO_WORDS = {"aiga", "bwh", "jpg", "svg", "by", "contour"}


@dataclass
class Drawing:
    path: Path
    title: str
    keywords: list[str]
    description: str
    file_words: str


def plain(text: str) -> str:
    """Lower case, words parted by single spaces, without numbers and marks at the ends."""
    text = re.sub(r"[_\s]+", " ", text).strip().lower()
    return re.sub(r"^[\W\d]+|[\W_]*\b\d*$|[\s,;:!?.-]+$", "", text).strip()


def texts(work: ElementTree.Element | None, tag: str) -> list[str]:
    """Of the elements of this name, or of the list items in them."""
    found = []
    for element in work.findall(f"{{*}}{tag}") if work is not None else ():
        items = element.findall(".//{*}li") or [element]
        found += [item.text.strip() for item in items if item.text and item.text.strip()]
    return found


def author_words(work: ElementTree.Element | None) -> set[str]:
    names = " ".join(element.text or "" for tag in ("creator", "rights", "publisher")
                     for element in (work.findall(f"{{*}}{tag}/{{*}}Agent/{{*}}title") if work is not None else ()))
    return {word for word in re.findall(r"\w+", names.lower())}


def file_words(path: Path, authors: set[str]) -> str:
    """What a file's name says: without numbers, the author (whose name is often cut short), and single letters."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem)
    words = re.findall(r"[^\W\d_]+", name.lower())
    # The author comes last, and nothing of the picture behind.
    for place in range(1, len(words)):
        if any(author.startswith(words[place]) and len(words[place]) > 2 for author in authors):
            words = words[:place]
            break
    return " ".join(word for word in words if len(word) > 1 and word not in NO_WORDS)


def read_drawing(path: Path) -> Drawing | None:
    """None of a file that is not XML."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        if getattr(error, "code", 0) == NO_MEMORY:
            raise MemoryError from None
        return None
    work = root.find(WORK)
    authors = author_words(work)
    title = next(iter(texts(work, "title")), "")
    keywords = [plain(word) for word in texts(work, "subject") if not NOT_SAID.search(word)]
    keywords = [word for word in dict.fromkeys(keywords)
                if word and word not in NO_KEYWORDS and not set(word.split()) <= authors and not word.endswith("theme icon")]
    description = next(iter(texts(work, "description")), "")
    return Drawing(path, plain(BEFORE_TITLE.sub("", title)), keywords, plain(description), file_words(path, authors))


def candidates(drawing: Drawing, of_many: set[str]) -> list[str]:
    """What it could be called, the best first."""
    said = [text for text in (drawing.title, drawing.file_words) if text and not NOT_SAID.search(text)]
    name = next((text for text in said if text not in of_many and re.search(r"[^\W\d_]{3}", text)), "")
    if name and "flag" in drawing.keywords and "flag" not in name:
        name = f"flag of {name}"
    words = [word for word in drawing.keywords if word != name]
    whole = ", ".join([name, *words]) if name and words else ""
    description = drawing.description
    if NOT_SAID.search(description) or not 3 <= len(description.split()) <= MOST_WORDS or description in of_many:
        description = ""
    return list(dict.fromkeys(filter(None, [name, whole, description])))


def captions_of(drawings: Iterable[Drawing]) -> dict[Path, list[str]]:
    """Of each drawing that has any; none is one of many drawings."""
    drawings = list(drawings)
    counts = Counter(text for one in drawings for text in {one.title, one.file_words, one.description})
    of_many = {text for text, count in counts.items() if count > OF_ONE}
    offered = {one.path: candidates(one, of_many) for one in drawings}
    owners = Counter(text for captions in offered.values() for text in captions)
    kept = {path: [text for text in captions if owners[text] <= OF_ONE] for path, captions in offered.items()}
    return {path: captions for path, captions in kept.items() if captions}
