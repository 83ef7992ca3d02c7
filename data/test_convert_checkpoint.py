#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of convert_checkpoint.py, on files made here, and from a checkpoint to what `train` computes with it (where
CT_TRAIN names the program). Exits 77 (skipped) without numpy. Where PyTorch is installed, its files are read too."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import struct
import subprocess
import sys
import types
import unittest
from collections import OrderedDict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
except ImportError as missing:
    print(f"test_convert_checkpoint.py: skipped: {sys.executable} has no module {missing.name}: "
          "run with Debian's /usr/bin/python3 and python3-numpy")
    sys.exit(77)

import torch_file  # noqa: E402
from script_test import Scratch  # noqa: E402
from torch_writer import Sparse, Strided, save  # noqa: E402

GOLDEN = HERE.parent / "tests" / "golden"
FORMS = {name: form for name, form in torch_file.STORAGES.values()}


class Nothing:
    """An object that a checkpoint should not hold."""


def encoder(*names: str, prefix: str = "", seed: int = 0) -> OrderedDict[str, Any]:
    generator = np.random.default_rng(seed)
    state = OrderedDict((f"{prefix}{name}", generator.standard_normal((3, 2), np.float32)) for name in names)
    state[f"{prefix}bn.num_batches_tracked"] = np.array(7)
    return state


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors, data = {}, data[8 + length:]
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], FORMS[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def plain(value: Any) -> Any:
    """The elements of a tensor."""
    if not isinstance(value, Strided):
        return value
    strides = tuple(step * value.base.itemsize for step in value.stride)
    return np.lib.stride_tricks.as_strided(value.base[value.offset:], value.shape, strides)


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
        save(whole, self.source, **settings)

    def test_what_it_says(self) -> None:
        self.save([self.image, self.text])
        said = self.run_script(self.source, self.out)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        self.assertRegex(said.stdout, r"model.safetensors: 6 tensors, 26 numbers: img_enc txt_enc\n$")
        self.assertEqual(self.out.stat().st_mode, self.source.stat().st_mode)

    def check(self, *flags: str, expected: dict[str, Any] | None = None) -> dict[str, str]:
        expected = self.expected if expected is None else expected
        self.succeeds(self.source, self.out, *flags)
        tensors, metadata = read_safetensors(self.out)
        self.assertEqual(sorted(tensors), sorted(expected))
        for name, value in expected.items():
            value = plain(value)
            self.assertEqual((tensors[name].dtype, tensors[name].shape), (value.dtype, value.shape), name)
            self.assertTrue(np.array_equal(tensors[name], value), name)
        self.assertEqual(sorted(self.folder.iterdir()), sorted([self.source, self.out]))
        return metadata

    def test_a_released_checkpoint(self) -> None:
        self.save([self.image, self.text])
        beside = {"epoch": "21", "best_rsum": "473.25", "Eiters": "9060"}
        self.assertEqual(self.check(), {**{key: str(value) for key, value in OPTIONS.items()}, **beside})

    def test_one_of_python_2(self) -> None:
        self.save([self.image, self.text], older=True, python2=True)
        data = self.source.read_bytes()
        self.assertIn(b"U\x09runs/caf\xe9", data)
        self.assertNotIn(b"X\x06\x00\x00\x00margin", data)
        self.assertEqual(self.check()["logger_name"], "runs/caf\xe9")
        self.assertEqual(self.check("--trust")["logger_name"], "runs/caf\xe9")

    def test_the_older_file_form(self) -> None:
        self.save([self.image, self.text], older=True)
        self.assertEqual(self.check()["margin"], "0.2")

    def test_data_parallel_prefixes_go(self) -> None:
        self.save([encoder("fc.weight", "Rs_GCN_1.W.1.running_mean", prefix="module.", seed=1), self.text])
        self.check()

    def test_a_state_dictionary_with_whole_names(self) -> None:
        self.save(self.expected)
        self.check()
        self.save({"img_enc": self.image, "txt_enc": self.text})
        self.check()
        save(self.expected, self.source)
        self.check()

    def test_weights_of_a_network_for_pictures(self) -> None:
        """As torchvision and timm save them: one state dictionary, of several types, whose names stay."""
        network: OrderedDict[str, Any] = OrderedDict()
        network["conv1.weight"] = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
        network["bn1.num_batches_tracked"] = np.array(5)
        network["layer1.0.conv1.weight"] = np.ones((2, 2, 1, 1), np.float16)
        network["fc.weight"] = Strided(np.arange(6, dtype=np.uint16), 0, (3, 2), (2, 1), "BFloat16Storage")
        beside = {"epoch": 90, "arch": "resnet50", "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
        wrapped = OrderedDict((f"module.{name}", value) for name, value in network.items())
        for whole, metadata in ((network, {}), ({"state_dict": wrapped, **beside}, {"epoch": "90", "arch": "resnet50"}),
                                ({"model": network, **beside}, {"epoch": "90", "arch": "resnet50"})):
            for older in (False, True):
                with self.subTest(keys=list(whole), older=older):
                    save(whole, self.source, older=older)
                    self.assertEqual(self.check(expected=network), metadata)
        self.assertEqual(self.header_types(), {"conv1.weight": "F32", "bn1.num_batches_tracked": "I64",
                                               "layer1.0.conv1.weight": "F16", "fc.weight": "BF16"})

    def header_types(self) -> dict[str, str]:
        data = self.out.read_bytes()
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        return {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}

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
        numbers = np.arange(12, dtype=np.float32)
        self.image["fc.weight"] = Strided(numbers, 0, (4, 3), (1, 4))
        self.image["again"] = Strided(numbers, 2, (5,), (2,))
        self.image["none"] = Strided(numbers, 12, (0, 3), (3, 1))
        self.text["half"] = np.ones(2, np.float16)
        self.text["bytes"] = np.arange(3, dtype=np.uint8)
        self.text["bits"] = Strided(np.array([0x3F80, 0x4000], np.uint16), 0, (2,), (1,), "BFloat16Storage")
        self.text["yes"] = np.array([True, False])
        for older in (False, True):
            self.save([self.image, self.text], older=older)
            self.check(expected={**{f"img_enc.{name}": value for name, value in self.image.items()},
                                 **{f"txt_enc.{name}": value for name, value in self.text.items()}})

    def test_tensors_outside_their_storage(self) -> None:
        numbers = np.arange(6, dtype=np.float32)
        for offset, shape, stride in ((1, (6,), (1,)), (0, (2, 3), (4, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)),
                                      (0, (2, 3), (1,)), (0, (-2,), (1,)), (7, (1,), (1,))):
            with self.subTest(offset=offset, shape=shape, stride=stride):
                self.image["fc.weight"] = Strided(numbers, offset, shape, stride)
                self.save([self.image, self.text])
                self.assertIn("outside its storage of 6 numbers", self.fails(self.source, self.out))

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

    def test_tensors_that_are_none(self) -> None:
        numbers = np.arange(6, dtype=np.float32)
        for shape, stride, said in (((1 << 40, 1 << 20), (0, 0), "too large"), ((1 << 70,), (0,), "too large"), ((1,) * 40, (0,) * 40, "too many"),
                                    (("x",), (1,), "expected whole numbers"), ((1.5,), (1,), "expected whole numbers")):
            with self.subTest(shape=shape):
                self.image["fc.weight"] = Strided(numbers, 0, shape, stride)
                self.save([self.image, self.text])
                self.assertIn(said, self.fails(self.source, self.out))
        self.image["fc.weight"] = Strided(numbers, 0, (0, 1 << 40), (1, 1))  # of no numbers: a tensor
        self.save([self.image, self.text])
        self.succeeds(self.source, self.out)

    def test_dictionaries_without_an_end(self) -> None:
        self.image["again"] = self.image
        self.save([self.image, self.text])
        self.assertIn("without an end, expected tensors", self.fails(self.source, self.out))

    def test_names_that_are_no_text(self) -> None:
        self.image["\ud800"] = np.ones(1)
        self.save([self.image, self.text])
        self.assertIn("a tensor is named 'img_enc.\\ud800'", self.fails(self.source, self.out))
        save({"__metadata__": np.ones(1)}, self.source)
        self.assertIn("is named __metadata__", self.fails(self.source, self.out))

    def test_options_that_are_no_text(self) -> None:
        """Left out, or written as they can be."""
        deep: list[Any] = []
        for _ in range(2000):
            deep = [deep]
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(50000)
        save({"model": [self.image, self.text], "opt": {"a": "\ud800", "\ud801": "b", "c": 10**5000, "d": deep, "e": 1}}, self.source)
        self.succeeds(self.source, self.out)
        self.assertEqual(read_safetensors(self.out)[1], {"a": "\\ud800", "e": "1"})

    def test_models_of_another_form(self) -> None:
        cases = {
            "fc.weight is a str, expected a tensor": [OrderedDict({"fc.weight": "no"}), self.text],
            "part 2 is a int, expected a state dictionary": [self.image, 3],
            "the model is a int, expected state dictionaries": 3,
            "the model has no tensors": [],
            "two tensors are named img_enc.w": [{"w": np.ones(1), "module.w": np.ones(1)}, self.text],
            "img_enc.w is not a dense tensor": [{"w": Sparse()}, self.text],
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
        self.assertIn("Is a directory", self.fails(self.source, "."))

    def test_nan_is_told(self) -> None:
        nan = Strided(np.array([0x7FC0], np.uint16), 0, (1,), (1,), "BFloat16Storage")
        self.image["fc.weight"][0, 0] = float("nan")
        self.save([self.image, {**self.text, "bits": nan}])
        done = self.run_script(self.source, self.out)
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: img_enc.fc.weight holds NaN", done.stderr)
        self.assertIn("warning: txt_enc.bits holds NaN", done.stderr)

    def test_files_of_pytorch_itself(self) -> None:
        try:
            import torch
        except ImportError:
            self.skipTest("PyTorch is not installed")
        state = {name: torch.tensor(value) for name, value in self.image.items()}
        state["transposed"] = torch.arange(12.0).reshape(3, 4).t()
        state["bits"] = torch.ones(2, dtype=torch.bfloat16)
        whole = {"model": [state, {"w": torch.nn.Parameter(torch.ones(2))}], "opt": argparse.Namespace(**OPTIONS)}
        expected = {f"img_enc.{name}": value.contiguous().view(torch.int16).numpy().view(np.uint16)
                    if value.dtype == torch.bfloat16 else value.numpy() for name, value in state.items()}
        for zipped in (True, False):
            torch.save(whole, self.source, _use_new_zipfile_serialization=zipped)
            metadata = self.check(expected={**expected, "txt_enc.w": np.ones(2, np.float32)})
            self.assertEqual(metadata["margin"], "0.2")


class EndToEnd(Scratch):
    """A checkpoint as the released program saves it, of parameters that were recorded with the embeddings it computed:
    converted, it gives these embeddings in `train`."""

    script = "convert_checkpoint.py"

    def embed(self, case: str, older: bool) -> None:
        recorded, _ = read_safetensors(GOLDEN / f"{case}.safetensors")
        parts: dict[str, OrderedDict[str, Any]] = {"img_enc": OrderedDict(), "txt_enc": OrderedDict()}
        for name, value in recorded.items():
            kind, _, rest = name.partition(".")
            part, _, rest = rest.partition(".")
            if kind in ("param", "buffer") and part in parts:
                parts[part][rest] = value.copy()
        checkpoint, weights = self.folder / "model_best.pth.tar", self.folder / "model.safetensors"
        save({"epoch": 3, "model": list(parts.values()), "opt": argparse.Namespace(**OPTIONS)}, checkpoint, older)
        self.succeeds(checkpoint, weights)
        done = subprocess.run([os.environ["CT_TRAIN"], f"tests/golden/{case}.ini", "--weights", weights, "--embed",
                               "recorded", "--out", self.folder], cwd=HERE.parent, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        policy = case.startswith("dcpg")
        self.assertEqual("model.safetensors: has no classifier, decoder" in done.stdout, policy, done.stdout)
        for kind in ("img_emb", "cap_emb"):
            got, want = np.load(self.folder / f"{kind}s.npy"), recorded[f"eval.out.{kind}"]
            self.assertEqual(got.shape, want.shape)
            self.assertLessEqual(np.abs(got - want).max(), 1e-9 * np.abs(want).max() + 1e-12)

    @unittest.skipUnless("CT_TRAIN" in os.environ, "CT_TRAIN does not name the program")
    def test_checkpoints_give_the_recorded_embeddings(self) -> None:
        for number, case in enumerate(("dcpg_step_f30k", "dcpg_step_coco", "vsrn_step_f30k", "vsrn_step_coco")):
            with self.subTest(case):
                self.embed(case, older=number % 2 == 0)


if __name__ == "__main__":
    unittest.main()
