# SPDX-License-Identifier: Apache-2.0
"""The captions of an emoji: plain lower-case sentences made of its names and keywords."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Iterable

from emoji_prep.cldr import Emoji

CAPTIONS_PER_IMAGE = 5

# Written inside a word ("o'clock", "q.e.d."): stripped without splitting the word.
INSIDE_WORDS = "'\u2019."
# Words of their own: without them the keycaps "#" and "*" would have the same captions.
SYMBOL_WORDS = "#*"


def plain(text: str) -> str:
    """Lower case, punctuation stripped, hyphens kept, single spaces."""
    pieces = []
    for char in text.lower():
        if char in SYMBOL_WORDS:
            pieces.append(f" {char} ")
        elif char.isalnum() or char == "-":
            pieces.append(char)
        elif char not in INSIDE_WORDS:
            pieces.append(" ")
    return " ".join(word for word in "".join(pieces).split() if word.strip("-"))


def unicode_name(text: str) -> str:
    """The Unicode standard's own name, which only single characters have."""
    return unicodedata.name(text, "") if len(text) == 1 else ""


def reorderings(emoji: Emoji) -> list[str]:
    """Base, further keywords and qualifiers in other orders."""
    base, qualifiers = [emoji.base], emoji.qualifiers
    said = {emoji.name, emoji.base, *qualifiers}
    extra = [word for word in emoji.keywords if word not in said]
    if not extra:
        return []
    back = extra[::-1]
    orders = [
        base + extra + qualifiers,
        qualifiers + extra + base,
        extra + qualifiers + base,
        extra + base + qualifiers,
        qualifiers + base + extra,
        base + qualifiers + extra,
        base + back + qualifiers,
        qualifiers + back + base,
    ]
    return [" ".join(order) for order in orders]


def candidates(emoji: Emoji) -> list[str]:
    """Every caption this emoji could have, the best first, each once."""
    texts = [
        emoji.name,
        " ".join([*emoji.qualifiers, emoji.base]),
        " ".join(emoji.keywords),
        unicode_name(emoji.text),
        *emoji.other_names,
        *(" ".join(words) for words in emoji.other_keywords),
        *reorderings(emoji),
    ]
    return list(dict.fromkeys(caption for caption in map(plain, texts) if caption))


def captions_of_all(images: Iterable[Emoji]) -> tuple[list[list[str]], int]:
    """Up to five captions for each image, and how many texts were dropped as ambiguous.

    A text that could stand for two images is given to neither: retrieval would be
    marked wrong for an answer that is right. Fewer captions rather than repeats.
    """
    offered = [candidates(one) for one in images]
    owners = Counter(caption for captions in offered for caption in captions)
    ambiguous = sum(count > 1 for count in owners.values())
    unique = [[caption for caption in captions if owners[caption] == 1] for captions in offered]
    return [captions[:CAPTIONS_PER_IMAGE] for captions in unique], ambiguous
