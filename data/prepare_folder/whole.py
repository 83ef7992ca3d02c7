# SPDX-License-Identifier: Apache-2.0
"""From entries to a data folder: looked at first, and written only if nothing is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from prepare_folder import Entry, Image, SourceError, headers, images, output, report, splits
from prepare_folder.problems import Problems


@dataclass
class Options:
    splits: str | None = None
    seed: int = 0
    skip: set[str] = field(default_factory=set)
    strict: bool = False
    decode: bool = False
    listed: int = 5


def examine(entries: Iterable[Entry], options: Options, problems: Problems) -> list[Image]:
    """The images as they will be written. Prints what there is to say of them; what is an error ends it."""
    found = images.gather(entries, problems)
    found, looks = headers.check(found, options.decode, problems)
    if not found:
        raise SourceError(f"{problems.found['unreadable'][0]}; none of the pictures can be read")
    row = {id(image): i for i, image in enumerate(found)}
    found = images.clean_captions(images.join_same(found, problems), problems)
    if not found:
        raise SourceError(f"{problems.found['uncaptioned'][0]}: no caption; no picture has one, expected some")
    if not problems.fatal(options.skip, strict=False):
        pairs = headers.alike(looks[[row[id(image)] for image in found]]) if looks is not None else []
        splits.draw(found, pairs, options.splits, options.seed)
        found = splits.part_alike(found, pairs, "alike" in options.skip, problems)
        images.find_leaked(found, problems)
        print(*report.lines(found), sep="\n")
    for line in problems.lines(options.skip, options.strict, options.listed):
        print(line)
    fatal = problems.fatal(options.skip, options.strict)
    if fatal:
        raise SourceError(fatal)
    return found


def write(found: list[Image], out: Path, fresh: Path, options: Options, sources: list[str]) -> None:
    output.write(found, out, fresh, {"sources": sources, "seed": options.seed, "splits": options.splits})
