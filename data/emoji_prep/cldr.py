# SPDX-License-Identifier: Apache-2.0
"""Names and keywords of emoji, from the annotation files of Debian's unicode-cldr-core."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from emoji_prep import PreparationError

CLDR_DIR = Path("/usr/share/unicode/cldr/common")
CLDR_PACKAGE = "unicode-cldr-core"

# "Derived" holds what CLDR composes by rule: skin tones, families, keycaps.
FOLDERS = ("annotations", "annotationsDerived")


@dataclass
class Emoji:
    """One named character sequence, without U+FE0F."""

    text: str
    name: str
    keywords: list[str] = field(default_factory=list)
    other_names: list[str] = field(default_factory=list)  # of the other English locales
    other_keywords: list[list[str]] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The name before its colon: "woman judge" of "woman judge: dark skin tone"."""
        return self.name.partition(":")[0].strip()

    @property
    def qualifiers(self) -> list[str]:
        """What follows the colon: ["dark skin tone", "red hair"]."""
        after = self.name.partition(":")[2]
        return [part.strip() for part in after.split(",") if part.strip()]


def read_annotations(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The names and the keywords of one annotation file, by character sequence."""
    names: dict[str, str] = {}
    keywords: dict[str, list[str]] = {}
    try:
        root = ElementTree.parse(path)
    except FileNotFoundError:
        raise PreparationError(f"missing {path}: install the Debian package {CLDR_PACKAGE}") from None
    except (OSError, ElementTree.ParseError) as error:
        raise PreparationError(f"cannot read {path} ({error}): reinstall the Debian package {CLDR_PACKAGE}") from None
    for node in root.iter("annotation"):
        # The presentation selector says "in colour"; it is no part of the sequence's identity.
        text = node.get("cp", "").replace("\ufe0f", "")
        if node.get("type") == "tts":
            names[text] = (node.text or "").strip()
        else:
            keywords[text] = [word.strip() for word in (node.text or "").split("|") if word.strip()]
    return names, keywords


def read_emoji(cldr_dir: Path = CLDR_DIR) -> list[Emoji]:
    """All that CLDR names in English, in an order that depends on the sequences alone."""
    emoji: dict[str, Emoji] = {}
    for folder in FOLDERS:
        names, keywords = read_annotations(cldr_dir / folder / "en.xml")
        for text, name in names.items():
            emoji[text] = Emoji(text, name, keywords.get(text, []))
    for folder in FOLDERS:
        for path in sorted((cldr_dir / folder).glob("en_*.xml")):
            names, keywords = read_annotations(path)
            for text, name in names.items():
                if text in emoji:
                    emoji[text].other_names.append(name)
            for text, words in keywords.items():
                if text in emoji:
                    emoji[text].other_keywords.append(words)
    return sorted(emoji.values(), key=lambda one: (len(one.text), one.text))
