#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of convert_vocabulary.py, on pickles as VSE++ makes them."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
import types
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from script_test import Scratch  # noqa: E402

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "dog", "caf\u00e9"]

# The same object, as Python 2 pickles one of a class without a base (protocol 0).
PYTHON_2 = (b"(ivocab\nVocabulary\np0\n(dp1\nS'idx'\np2\nI5\nsS'word2idx'\np3\n(dp4\n"
            b"S'<pad>'\np5\nI0\nsS'<start>'\np6\nI1\nsS'<end>'\np7\nI2\nsS'<unk>'\np8\nI3\nsVcaf\xe9\np9\nI4\nss"
            b"S'idx2word'\np10\n(dp11\nI0\ng5\nsI1\ng6\nsI2\ng7\nsI3\ng8\nsI4\ng9\nssb.")


def pickled(words: dict[str, int], protocol: int = 2, **others: Any) -> bytes:
    """An object of a class Vocabulary of a module vocab, which is gone afterwards."""
    module = types.ModuleType("vocab")
    kind = type("Vocabulary", (), {"__module__": "vocab"})
    module.Vocabulary = kind  # type: ignore[attr-defined]
    sys.modules["vocab"] = module
    try:
        thing = kind()
        thing.word2idx = words  # type: ignore[attr-defined]
        thing.idx2word = {number: word for word, number in words.items()}  # type: ignore[attr-defined]
        thing.idx = len(words)  # type: ignore[attr-defined]
        vars(thing).update(others)
        return pickle.dumps(thing, protocol)
    finally:
        del sys.modules["vocab"]


class Evil:
    """What a pickle should not be able to do."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


class Vocabularies(Scratch):
    script = "convert_vocabulary.py"

    def write(self, data: bytes) -> list[str | Path]:
        (self.folder / "in.pkl").write_bytes(data)
        return [self.folder / "in.pkl", self.folder / "out.json"]

    def converted(self, data: bytes) -> Any:
        self.succeeds(*self.write(data))
        return json.loads((self.folder / "out.json").read_text(encoding="utf-8"))

    def test_every_protocol(self) -> None:
        ids = {word: number for number, word in enumerate(WORDS)}
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with self.subTest(protocol):
                found = self.converted(pickled(ids, protocol))
                self.assertEqual(found, {"word2idx": ids, "idx2word": {str(i): w for w, i in ids.items()},
                                         "idx": len(ids)})

    def test_python_2(self) -> None:
        self.assertEqual(list(self.converted(PYTHON_2)["word2idx"]), [*WORDS[:4], "caf\u00e9"])

    def test_no_code_is_run(self) -> None:
        error = self.fails(*self.write(pickled({}, extra=Evil())))
        self.assertIn(f"in.pkl: holds {os.mkdir.__module__}.mkdir, expected an object Vocabulary", error)
        self.assertFalse(Path("evil").exists())

    def test_what_is_wrong_is_said(self) -> None:
        ids = {word: number for number, word in enumerate(WORDS)}
        cases = {
            "numbers 0 to 6, each once": pickled({**ids, "dog": 9}),
            "the first words are a <start> <end> <unk>": pickled({**ids, "a": 0, "<pad>": 4}),
            "a list without word2idx": pickle.dumps([1]),
            "idx2word and word2idx disagree": pickled(ids, idx2word={0: "dog"}),
            "word2idx has '\\ud800', half a surrogate pair": pickled({**ids, "\ud800": 7}),
            "not of words and whole numbers": pickled({"a": "b"}),
            "not a pickle, or damaged": pickled(ids)[:-9],
            "a JSON file needs no converting": b'{"word2idx": {}}',
            "gzip, expected what is in it: gunzip it": gzip.compress(pickled(ids)),
        }
        for message, data in cases.items():
            with self.subTest(message):
                self.assertIn(message, self.fails(*self.write(data)))


if __name__ == "__main__":
    unittest.main()
