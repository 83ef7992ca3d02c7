#!/usr/bin/env python3
"""Tests of convert_checkpoint.py, on files made here. Exits 77 (skipped) without torch, numpy and safetensors."""

from __future__ import annotations

import argparse
import io
import pickle
import subprocess
import sys
import types
import unittest
from collections import OrderedDict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
    import torch
    from safetensors import safe_open
except ImportError as missing:
    print(f"test_convert_checkpoint.py: skipped: {sys.executable} has no module {missing.name}: "
          "run with a Python that has torch, numpy and safetensors")
    sys.exit(77)

import convert_checkpoint  # noqa: E402
from script_test import Scratch  # noqa: E402


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes str as Python 2 wrote its byte strings, protocol 2."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes_of(self, text: str) -> None:
        data = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_bytes_of


def dump_python2(value: Any, stream: Any, protocol: int) -> None:
    Python2Pickler(stream, protocol).dump(value)


class Nothing:
    """An object that a checkpoint should not hold."""


def encoder(*names: str, prefix: str = "", seed: int = 0) -> OrderedDict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    state = OrderedDict((f"{prefix}{name}", torch.randn(3, 2, generator=generator)) for name in names)
    state[f"{prefix}bn.num_batches_tracked"] = torch.tensor(7)
    state._metadata = OrderedDict(version=1)  # type: ignore[attr-defined]  # as state_dict() sets it
    return state


OPTIONS = {"margin": 0.2, "max_violation": True, "measure": "cosine", "data_name": "f30k_precomp",
           "embed_size": 2048, "logger_name": "runs/caf\xe9", "resume": None, "num_epochs": 30}


class Checkpoint(Scratch):
    script = "convert_checkpoint.py"

    def setUp(self) -> None:
        super().setUp()
        self.image = encoder("fc.weight", "Rs_GCN_1.W.1.running_mean", seed=1)
        self.text = encoder("embed.weight", "rnn.weight_ih_l0", seed=2)
        self.source, self.out = self.folder / "model_best.pth.tar", self.folder / "model.safetensors"
        self.expected = {**{f"img_enc.{name}": value for name, value in self.image.items()},
                         **{f"txt_enc.{name}": value for name, value in self.text.items()}}

    def save(self, model: Any, options: Any = None, **settings: Any) -> None:
        whole = {"epoch": 21, "model": model, "best_rsum": 473.25, "Eiters": 9060,
                 "opt": argparse.Namespace(**OPTIONS) if options is None else options}
        torch.save(whole, self.source, **settings)

    def run_script(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """In this process, where torch is already loaded: it takes seconds."""
        out, error = io.StringIO(), io.StringIO()
        line = [self.script, *map(str, arguments)]
        with mock.patch.object(sys, "argv", line), redirect_stdout(out), redirect_stderr(error):
            code = convert_checkpoint.main()
        return subprocess.CompletedProcess(line, code, out.getvalue(), error.getvalue())

    def test_as_a_program(self) -> None:
        self.save([self.image, self.text])
        said = super().run_script(self.source, self.out)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        self.assertRegex(said.stdout, r"model.safetensors: 6 tensors, 26 numbers: img_enc txt_enc\n$")
        self.assertEqual(self.out.stat().st_mode, self.source.stat().st_mode)
        self.assertEqual(super().run_script(self.folder / "none", self.out).returncode, 2)

    def read(self) -> tuple[dict[str, Any], dict[str, str]]:
        with safe_open(self.out, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()

    def check(self, *flags: str, expected: dict[str, Any] | None = None) -> dict[str, str]:
        expected = self.expected if expected is None else expected
        self.succeeds(self.source, self.out, *flags)
        tensors, metadata = self.read()
        self.assertEqual(sorted(tensors), sorted(expected))
        for name, value in expected.items():
            self.assertEqual((tensors[name].dtype, tensors[name].shape), (value.dtype, value.shape), name)
            self.assertTrue(torch.equal(tensors[name], value), name)
        self.assertEqual(sorted(self.folder.iterdir()), sorted([self.source, self.out]))
        return metadata

    def test_a_released_checkpoint(self) -> None:
        self.save([self.image, self.text])
        beside = {"epoch": "21", "best_rsum": "473.25", "Eiters": "9060"}
        self.assertEqual(self.check(), {**{key: str(value) for key, value in OPTIONS.items()}, **beside})

    def test_one_of_python_2(self) -> None:
        python2 = types.ModuleType("python2")
        python2.Pickler, python2.dump = Python2Pickler, dump_python2  # type: ignore[attr-defined]
        self.save([self.image, self.text], pickle_module=python2, _use_new_zipfile_serialization=False)
        data = self.source.read_bytes()
        self.assertIn(b"U\x09runs/caf\xe9", data)
        self.assertNotIn(b"X\x06\x00\x00\x00margin", data)
        self.assertEqual(self.check()["logger_name"], "runs/caf\xe9")
        self.assertEqual(self.check("--trust")["logger_name"], "runs/caf\xe9")

    def test_the_older_file_form(self) -> None:
        self.save([self.image, self.text], _use_new_zipfile_serialization=False)
        self.assertEqual(self.check()["margin"], "0.2")

    def test_data_parallel_prefixes_go(self) -> None:
        self.save([encoder("fc.weight", "Rs_GCN_1.W.1.running_mean", prefix="module.", seed=1), self.text])
        self.check()

    def test_a_state_dictionary_with_whole_names(self) -> None:
        self.save(self.expected)
        self.check()
        self.save({"img_enc": self.image, "txt_enc": self.text})
        self.check()
        torch.save(self.expected, self.source)
        self.check()

    def test_further_parts_are_recognised(self) -> None:
        captioner, classifier = encoder("emb_1.weight_v", "convs.0.bias", seed=3), encoder("classifier1.weight", seed=4)
        del classifier["bn.num_batches_tracked"]
        self.save([self.image, self.text, captioner, classifier])
        self.check(expected={**self.expected, **{f"caption_model.{name}": value for name, value in captioner.items()},
                             **classifier})
        self.save([self.image, self.text, encoder("surprise.weight")])
        self.out.unlink()
        error = self.fails(self.source, self.out)
        self.assertIn("part 3 is of no known kind (its first tensor: surprise.weight)", error)

    def test_named_parts(self) -> None:
        self.save([self.text, self.image])
        self.check("--parts", "txt_enc,img_enc")
        self.out.unlink()
        self.assertIn("--parts names 1 parts, the model has 2", self.fails(self.source, self.out, "--parts", "img_enc"))

    def test_views_and_shared_tensors(self) -> None:
        self.image["fc.weight"] = torch.arange(12.0).reshape(3, 4).t()
        self.image["again"] = self.image["fc.weight"]
        self.text["embed.weight"] = torch.arange(10.0)[::2]
        self.text["half"] = torch.ones(2, dtype=torch.float16)
        self.save([self.image, self.text])
        self.check(expected={**{f"img_enc.{name}": value for name, value in self.image.items()},
                             **{f"txt_enc.{name}": value for name, value in self.text.items()}})

    def test_numbers_of_numpy(self) -> None:
        self.save([self.image, self.text], argparse.Namespace(best=np.float64(1.5), count=np.int64(3)))
        metadata = self.check()
        self.assertEqual((metadata["best"], metadata["count"]), ("1.5", "3"))

    def test_other_objects_need_trust(self) -> None:
        self.save([self.image, self.text], argparse.Namespace(extra=Path("x"), margin=0.3))
        error = self.fails(self.source, self.out)
        self.assertRegex(error, r"holds pathlib\S*, which is neither a tensor nor a plain value; .*--trust")
        metadata = self.check("--trust")
        self.assertEqual(metadata["margin"], "0.3")
        self.assertNotIn("extra", metadata)

    def test_no_code_runs_without_trust(self) -> None:
        class Touch:
            def __reduce__(inner) -> tuple[Any, ...]:  # noqa: N805
                return Path.touch, (self.folder / "ran",)

        self.save([self.image, self.text], Touch())
        self.fails(self.source, self.out)
        self.assertFalse((self.folder / "ran").exists())
        self.succeeds(self.source, self.out, "--trust")
        self.assertTrue((self.folder / "ran").exists(), "the file would have run code")

    def test_objects_of_absent_modules(self) -> None:
        Nothing.__module__ = "absent_module"
        sys.modules["absent_module"] = types.ModuleType("absent_module")
        sys.modules["absent_module"].Nothing = Nothing  # type: ignore[attr-defined]
        try:
            self.save([self.image, self.text], Nothing())
        finally:
            del sys.modules["absent_module"]
            Nothing.__module__ = __name__
        self.assertIn("need the module absent_module", self.fails(self.source, self.out, "--trust"))

    def test_models_of_another_form(self) -> None:
        cases = {
            "fc.weight is a str, expected a tensor": [OrderedDict({"fc.weight": "no"}), self.text],
            "part 2 is a int, expected a state dictionary": [self.image, 3],
            "the model is a int, expected state dictionaries": 3,
            "the model has no tensors": [],
            "two tensors are named img_enc.w": [{"w": torch.ones(1), "module.w": torch.ones(1)}, self.text],
            "img_enc.w is not a dense tensor": [{"w": torch.eye(2).to_sparse()}, self.text],
        }
        for message, model in cases.items():
            with self.subTest(message):
                self.save(model)
                self.assertIn(message, self.fails(self.source, self.out))

    def test_files_of_another_kind(self) -> None:
        self.assertIn("No such file", self.fails(self.source, self.out))
        self.save([self.image, self.text])
        whole = self.source.read_bytes()
        for data in (b"", b"not a checkpoint\n", whole[: len(whole) // 2], pickle.dumps(3), bytes(range(256))):
            self.source.write_bytes(data)
            for flags in ([], ["--trust"]):
                self.assertIn("model_best.pth.tar: ", self.fails(self.source, self.out, *flags))

    def test_an_unwritable_place(self) -> None:
        self.save([self.image, self.text])
        self.assertIn("No such file or directory", self.fails(self.source, self.folder / "none" / "x.safetensors"))

    def test_nan_is_told(self) -> None:
        self.image["fc.weight"][0, 0] = float("nan")
        self.save([self.image, self.text])
        done = self.run_script(self.source, self.out)
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: img_enc.fc.weight holds NaN", done.stderr)


if __name__ == "__main__":
    unittest.main()
