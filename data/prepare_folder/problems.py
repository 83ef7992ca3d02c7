# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a source: collected, so that one run tells of everything."""

from __future__ import annotations

# With which training would be wrong.
ERRORS = {
    "missing": "pictures that are not there",
    "unreadable": "pictures that cannot be read",
    "shared": "pictures in two splits",
}
WARNINGS = {
    "mended": "lines without a separator, mended",
    "stray": "text files without a picture beside them (.jpg, .jpeg, .png, .webp), not read",
    "unlisted": "pictures in no list of --lists, left out",
    "empty": "empty captions, left out",
    "repeated": "captions twice at one picture, left out",
    "same": "pictures that are the same file as another, made one image",
    "uncaptioned": "pictures without a caption, left out",
    "alike": "pictures that look like one of another split",
    "leaked": "captions of train in another split too, kept",
}
# What --skip leaves out.
SKIPPED = (*ERRORS, "alike")


class Problems:
    """By kind, each with the place and what is there."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {kind: [] for kind in (*ERRORS, *WARNINGS)}

    def add(self, kind: str, where: str, what: str) -> None:
        self.found[kind].append(f"{where}: {what}")

    def lines(self, skipped: set[str], strict: bool, listed: int) -> list[str]:
        """For the terminal: each kind with its number and the first places (0: all)."""
        text = []
        for kind, places in self.found.items():
            if not places:
                continue
            is_error = kind not in skipped and (kind in ERRORS or strict)
            what = {**ERRORS, **WARNINGS}[kind] + (", left out" if kind in skipped else "")
            text.append(f"{'error' if is_error else 'note'}: {what}: {len(places):,}")
            shown = places[: listed or None]
            text += [f"    {place}" for place in shown]
            if len(shown) < len(places):
                text.append(f"    and {len(places) - len(shown):,} more (--list 0 shows all)")
        return text

    def fatal(self, skipped: set[str], strict: bool) -> str | None:
        """Of the first kind that is an error: one sentence."""
        for kind in (*ERRORS, *(WARNINGS if strict else ())):
            places = self.found[kind]
            if places and kind not in skipped:
                more = f" ({len(places):,} such)" if len(places) > 1 else ""
                way = f"--skip {kind} leaves them out" if kind in SKIPPED else "an error by --strict"
                return f"{places[0]}{more}; {way}"
        return None
