# SPDX-License-Identifier: Apache-2.0
"""Draws which picture belongs to which split.

A picture's name and the seed alone decide, so that pictures that are added move no other. Pictures that look
alike are drawn together.
"""

from __future__ import annotations

import hashlib

from prepare_folder import Image, SourceError
from prepare_folder.images import most_held_out
from prepare_folder.problems import Problems
from prepare_folder.sources import SPLIT_NAME

DEFAULT = "train=80,dev=10,test=10"


def parse(text: str) -> list[tuple[str, float]]:
    """ "train=80,dev=10,test=10" as names and shares of one."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0
        if not SPLIT_NAME.fullmatch(name.strip()) or not 0 < share < float("inf") or name.strip() in shares:
            raise SourceError(f"--splits {text}: '{part}', expected NAME=SHARE, each name once, such as {DEFAULT}")
        shares[name.strip()] = share
    return [(name, share / sum(shares.values())) for name, share in shares.items()]


def place(name: str, seed: int) -> float:
    """Where in 0 to 1 a picture falls."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48


def drawn(name: str, seed: int, shares: list[tuple[str, float]]) -> str:
    at = place(name, seed)
    for split, share in shares:
        if at < share:
            return split
        at -= share
    return shares[-1][0]


def groups(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each image the first of those that it goes together with, directly or by way of others."""
    leader = list(range(count))

    def root(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        leader[high] = low
    return [root(i) for i in range(count)]


def draw(images: list[Image], pairs: list[tuple[int, int]], wanted: str | None, seed: int) -> None:
    """Gives a split to each image that has none; with `wanted` and all having one, divides those of train."""
    without = [image for image in images if not image.split]
    if without and len(without) < len(images) and not wanted:
        raise SourceError(f"{without[0].where}: {without[0].name} has no split and others have one; --splits {DEFAULT} "
                          "draws one for those that have none")
    if not without and not wanted:
        return
    pool = {id(image) for image in without or [image for image in images if image.split == "train"]}
    shares = parse(wanted or DEFAULT)
    leader = groups(len(images), [pair for pair in pairs if all(id(images[i]) in pool for i in pair)])
    for i, image in enumerate(images):
        if id(image) in pool:
            image.split = drawn(images[leader[i]].name, seed, shares)
    for name, _ in shares:
        if not any(image.split == name for image in images):
            raise SourceError(f"--splits: of {len(pool)} pictures none fell to {name}: give it a larger share, or another "
                              "--seed")


def part_alike(images: list[Image], pairs: list[tuple[int, int]], skip: bool, problems: Problems) -> list[Image]:
    """Pictures that look like one of another split are told of, and left out, if wanted, where they are not held
    out: of train rather than of dev, of dev rather than of test."""
    gone = set()
    for pair in pairs:
        kept, other = (images[i] for i in pair)
        if kept.split == other.split:
            continue
        if most_held_out(kept.split, other.split) == other.split:
            kept, other = other, kept
        problems.add("alike", other.where, f"{other.name} of {other.split} and {kept.name} of {kept.split} ({kept.where})")
        gone.add(id(other))
    return [image for image in images if not (skip and id(image) in gone)]
