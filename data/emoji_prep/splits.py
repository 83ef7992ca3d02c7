# SPDX-License-Identifier: Apache-2.0
"""Which image belongs to which split.

test, dev   unseen combinations: the image is new, but relatives of it (the same base with
            another tone, gender or hair) are in train
test_new    unseen concepts: whole bases that occur nowhere else
train       the rest
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

from emoji_prep.cldr import Emoji

SPLITS = ("train", "dev", "test", "test_new")
HELD_OUT_IMAGES = 300  # each of test and dev
RELATIVES = 3  # a base needs so many images before one of them may be held out
NEW_CONCEPTS = 0.1  # of the bases

PERSONS = "\U0001F468\U0001F469\U0001F9D1"  # man, woman, person
# Zero-width joiner, gender signs, skin tones, hair.
VARIATION = {"\u200d", "\u2640", "\u2642", *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0x1F9B0, 0x1F9B4))}
# Spelt in several ways by sequences that have no base character in common.
MERGED = ("family", "kiss", "couple with heart", "handshake", "holding hands")


def base_of(emoji: Emoji) -> str:
    """What is pictured, whoever does it: the emoji without tone, joiner, gender, hair, leading person."""
    for kind in MERGED:
        if emoji.base == kind or (kind == "holding hands" and emoji.base.endswith(kind)):
            return kind
    rest = "".join(char for char in emoji.text if char not in VARIATION)
    if not rest:  # the gender signs are emoji themselves
        return emoji.text
    if rest[0] in PERSONS:
        # Marked, or a judge (person + scales) would be a relative of the balance scale.
        return "person " + rest[1:]
    return rest


def in_drawn_order(items: list[str], seed: int, purpose: str) -> list[str]:
    """A shuffle by hash: the same on every machine and version, and little changed by a new emoji."""

    def key(item: str) -> bytes:
        return hashlib.sha256(f"{seed}/{purpose}/{item}".encode()).digest()

    return sorted(items, key=key)


def new_concepts(bases: list[str], seed: int) -> set[str]:
    """The bases of test_new."""
    distinct = sorted(set(bases))
    return set(in_drawn_order(distinct, seed, "test_new")[: int(len(distinct) * NEW_CONCEPTS)])


def held_out(bases: dict[str, str], seed: int) -> dict[str, str]:
    """The split (test or dev) of each image drawn, from the bases of all that may be drawn.

    One image of each base always stays in train: what is held out must have a relative there.
    """
    left = Counter(bases.values())
    eligible = [text for text, base in bases.items() if left[base] >= RELATIVES]
    drawn: list[str] = []
    for text in in_drawn_order(eligible, seed, "held out"):
        if len(drawn) < 2 * HELD_OUT_IMAGES and left[bases[text]] > 1:
            left[bases[text]] -= 1
            drawn.append(text)
    half = len(drawn) // 2
    return {text: "test" if position < half else "dev" for position, text in enumerate(drawn)}


def split(images: list[Emoji], seed: int) -> dict[str, list[int]]:
    """The images of each split, as positions in the list given, ascending."""
    bases = [base_of(one) for one in images]
    new = new_concepts(bases, seed)
    known = {one.text: base for one, base in zip(images, bases) if base not in new}
    drawn = held_out(known, seed)
    rows: dict[str, list[int]] = defaultdict(list)
    for position, (one, base) in enumerate(zip(images, bases)):
        rows["test_new" if base in new else drawn.get(one.text, "train")].append(position)
    return {name: rows[name] for name in SPLITS}
