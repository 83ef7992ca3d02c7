#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a pickled vocabulary into the JSON that `[data] vocabulary` takes.

    convert_vocabulary.py f30k_precomp_vocab.pkl f30k_precomp_vocab.json

VSE++ and what was made of it pickle an object of their class Vocabulary: word2idx, idx2word, idx. Of the
pickle nothing is run: the object, dictionaries, strings and numbers are all that it may hold. Files of
Python 2 are read.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import memory  # noqa: E402

memory.watch("while the vocabulary was converted")
import fresh_file  # noqa: E402
import printing  # noqa: E402
import wrong_file  # noqa: E402

SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


class ConversionError(Exception):
    """What is wrong, in one line."""


class Vocabulary:
    """Stands for the pickled class, whatever module it was in: it only receives attributes."""

    def __init__(self, *_: object) -> None:
        pass


def reconstruct(kind: type, *_: object) -> Any:
    return kind()


ALLOWED: dict[tuple[str, str], Any] = {
    ("copy_reg", "_reconstructor"): reconstruct,
    ("copyreg", "_reconstructor"): reconstruct,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "int"): int,
    ("builtins", "int"): int,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
}


class Reader(pickle.Unpickler):
    """Knows a vocabulary and plain values, and runs nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "Vocabulary":
            return Vocabulary
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        raise ConversionError(f"holds {module}.{name}, expected an object Vocabulary of dictionaries, strings and "
                              "numbers")


def load(path: Path) -> Any:
    kind = wrong_file.kind(path)
    if kind and kind != "a Python pickle":
        raise ConversionError(f"{path}: {kind}; expected a pickled Vocabulary")
    try:
        with open(path, "rb") as file:
            return Reader(file, encoding="utf-8").load()
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from None
    except OSError:
        raise
    except UnicodeDecodeError:
        raise ConversionError(f"{path}: its words are not UTF-8") from None
    except MemoryError:
        raise ConversionError(f"{path}: what it says it holds takes more memory than there is: a damaged file, or one that "
                              "is too large") from None
    except Exception:  # damaged pickles raise whatever they like
        raise ConversionError(f"{path}: not a pickle, or damaged; expected a pickled Vocabulary (a JSON file needs no "
                              "converting)") from None


def word_ids(path: Path, vocabulary: Any) -> dict[str, int]:
    """The words' numbers, 0 to n - 1, in that order."""
    given = vocabulary if isinstance(vocabulary, Mapping) else vars(vocabulary) if hasattr(vocabulary, "__dict__") else {}
    ids = given.get("word2idx")
    if not isinstance(ids, Mapping):
        raise ConversionError(f"{path}: a {type(vocabulary).__name__} without word2idx, expected a Vocabulary")
    if not all(isinstance(word, str) and type(number) is int for word, number in ids.items()):
        raise ConversionError(f"{path}: word2idx is not of words and whole numbers")
    strange = next((word for word in ids if any("\ud800" <= char <= "\udfff" for char in word)), None)
    if strange is not None:
        raise ConversionError(f"{path}: word2idx has {strange!r}, half a surrogate pair, expected text")
    words = sorted(ids, key=lambda word: ids[word])
    if [ids[word] for word in words] != list(range(len(words))):
        raise ConversionError(f"{path}: word2idx has not the numbers 0 to {len(words) - 1}, each once")
    if tuple(words[:len(SPECIAL)]) != SPECIAL:
        raise ConversionError(f"{path}: the first words are {' '.join(words[:len(SPECIAL)])}, expected "
                              f"{' '.join(SPECIAL)}")
    names = given.get("idx2word")
    if isinstance(names, Mapping) and any(names.get(ids[word]) != word for word in words):
        raise ConversionError(f"{path}: idx2word and word2idx disagree")
    return {word: ids[word] for word in words}


def convert(source: Path, out: Path) -> str:
    """Writes the file; what was done, in one line."""
    ids = word_ids(source, load(source))
    whole = {"word2idx": ids, "idx2word": {str(number): word for word, number in ids.items()}, "idx": len(ids)}
    with fresh_file.replacing(out, "utf-8") as file:
        json.dump(whole, file, ensure_ascii=False, indent=1)
    return f"{out}: {len(ids)} words"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Turn a pickled vocabulary into JSON.")
    parser.add_argument("source", type=Path, metavar="IN.pkl")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        print(convert(options.source, options.out))
    except (ConversionError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
