# SPDX-License-Identifier: Apache-2.0
"""The PyTorch models that benchmarks/gpu compares with: in f64, on the steps that the published code recorded
(tests/golden), both give its losses and gradients with `released`, and without it those of our own program, and each
other's. Exits 77 (skipped) where PyTorch is missing.

CT_TRAIN names our program."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "benchmarks" / "pytorch"))
try:
    import torch
except ImportError:
    print("no PyTorch here")
    sys.exit(77)

import batched
import exchange
import stepwise
from parts import Batch, Noise, Sizes

GOLDEN = ROOT / "tests" / "golden"
TERMS = {"img_rl1": "discrete_image", "text_rl1": "discrete_text", "img_rl2": "continuous_image",
         "text_rl2": "continuous_text", "t_id": "instance_image", "i_id": "instance_text", "text_decoder": "decoder"}


def sizes(case: exchange.Tensors, metadata: dict[str, str], released: bool) -> Sizes:
    return Sizes(features=case["in.images"].shape[2], width=int(metadata["D"]), words=int(metadata["E"]),
                 actions=int(metadata["A"]), vocabulary=int(metadata["V"]), classes=int(metadata["num_classes"]),
                 hidden=int(metadata["cls_hidden"]), decoder_width=int(metadata["nfeats"]),
                 decoder_hidden=case["param.caption_model.classifier_0.bias"].shape[0], dropout=0,
                 first_norm=metadata["data_name"] != "f30k_precomp", released=released)


def run(module, case: exchange.Tensors, s: Sizes) -> tuple[exchange.Tensors, exchange.Tensors]:
    """Losses and gradients, under the released code's names."""
    model = module.Model(s).double()
    exchange.load(model, case)
    batch = Batch(case["in.images"], case["in.language"], case["in.lengths"], case["in.idx"],
                  case["in.caption_labels"], case["in.caption_masks"])
    noise = [Noise({name: case[f"noise.{part}.{name}"] for name in ("gumbel_u", "index_v", "z1", "z2")})
             for part in ("txt_enc", "img_enc")]
    terms = model.losses(batch, tuple(noise))
    terms["total"].backward()
    grads = {exchange.released_name(name): p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: x.detach() for name, x in terms.items()}, grads


class Models(unittest.TestCase):
    def close(self, a: torch.Tensor, b: torch.Tensor, name: str) -> None:
        """The golden values' tolerance. The true gradient of a bias before a batch norm is 0."""
        bound = 1e-12 if name.endswith(".W.0.bias") else 1e-9 * b.abs().max().item() + 1e-12
        self.assertEqual(a.numel(), b.numel(), name)
        self.assertLessEqual((a.reshape(-1) - b.reshape(-1)).abs().max().item(), bound, name)

    def compare(self, case: exchange.Tensors, s: Sizes, losses: exchange.Tensors, grads: exchange.Tensors) -> None:
        for module, fewer in ((stepwise, False), (batched, False), (batched, True)):
            with self.subTest(module.__name__, released=s.released, fewer_products=fewer):
                terms, found = run(module, case, dataclasses.replace(s, fewer_products=fewer))
                self.assertEqual(set(terms), set(losses))
                for name, value in losses.items():
                    self.close(terms[name], value, name)
                self.assertEqual(set(grads), set(found))
                for name, value in grads.items():
                    self.close(found[name], value, name)

    def test_released(self) -> None:
        for data in ("f30k", "coco"):
            case, metadata = exchange.read(GOLDEN / f"dcpg_step_{data}.safetensors")
            losses = {name[5:]: x for name, x in case.items() if name.startswith("loss.")}
            for name in ("rl_loss1", "rl_loss2", "classification"):
                losses.pop(name)
            s = sizes(case, metadata, True)
            grads = {name[11:]: x for name, x in case.items() if name.startswith("grad.param.")}
            self.compare(case, s, losses, grads)

    def test_ours(self) -> None:
        """What our program computes as the paper has it, from the same parameters, batch and noise."""
        for data in ("f30k", "coco"):
            file = GOLDEN / f"dcpg_step_{data}.safetensors"
            case, metadata = exchange.read(file)
            with tempfile.TemporaryDirectory() as folder:
                command = [os.environ["CT_TRAIN"], f"tests/golden/dcpg_step_{data}.ini", "--init", str(file),
                           "--steps", "1", "--dump-steps", f"{folder}/steps", "--set", f"run.folder={folder}/run",
                           "--set", "compat.preset=none"]
                subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
                ours, _ = exchange.read(Path(folder) / "steps" / "step_000001.safetensors")
            losses = {name[5:]: x for name, x in ours.items() if name.startswith("loss.")}
            for name in ("rl_loss1", "rl_loss2", "classification"):
                losses.pop(name)
            grads = {name[11:]: x for name, x in ours.items() if name.startswith("grad.param.")}
            self.compare(case, sizes(case, metadata, False), losses, grads)

    def test_evaluation(self) -> None:
        """Embeddings with `released` are the published code's; its batch norm of images uses the batch there."""
        for data in ("f30k", "coco"):
            case, metadata = exchange.read(GOLDEN / f"dcpg_step_{data}.safetensors")
            for module in (stepwise, batched):
                with self.subTest(module.__name__, data=data), torch.no_grad():
                    model = module.Model(sizes(case, metadata, True)).double()
                    exchange.load(model, case)
                    model.eval()
                    model.img_enc.bn.train()
                    self.close(model.embed_images(case["in.images"]), case["eval.out.img_emb"], "images")
                    captions = model.embed_captions(case["in.language"], case["in.lengths"])
                    self.close(captions, case["eval.out.cap_emb"], "captions")


if __name__ == "__main__":
    unittest.main()
