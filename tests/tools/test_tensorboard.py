# SPDX-License-Identifier: Apache-2.0
"""A run's event file, read back by TensorBoard itself. Skipped (77) where its package is not installed.

CT_TRAIN names the program, CT_TENSORBOARD_PYTHON a Python with the package tensorboard; by default this one."""

from __future__ import annotations

import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

OTHER = os.environ.get("CT_TENSORBOARD_PYTHON")
if OTHER and Path(OTHER) != Path(sys.executable):
    os.execv(OTHER, [OTHER, *sys.argv])
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
except ImportError:
    print("no package tensorboard")
    sys.exit(77)

TRAIN = os.environ.get("CT_TRAIN", "build/train")
REGIONS, WIDTH = 4, 6
CONFIG = """[data]
folder = {folder}
min_count = 1
[run]
folder = {folder}/run
seed = 3
threads = 1
[train]
epochs = 3
batch = 8
lr = 0.01
validate_every = 0
[image]
fc = linear width=12
attend = policy_attention heads=2 actions=10
pool = mean
[text]
embed = words width=12
attend = attention heads=2
pool = mean
[loss]
retrieval = hinge margin=0.2 negatives=hardest sum_epochs=1
discrete_policy = 1
continuous_policy = 1
"""


def write_split(folder: Path, name: str, images: int) -> None:
    chance = random.Random(name)
    values = [chance.gauss(0, 1) for _ in range(images * REGIONS * WIDTH)]
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({images}, {REGIONS}, {WIDTH}), }}"
    header = header.ljust(117) + "\n"
    (folder / f"{name}_ims.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
        + struct.pack(f"<{len(values)}f", *values))
    (folder / f"{name}_pictures.txt").write_text("".join("blue.png\n" for _ in range(images)))
    (folder / f"{name}_caps.txt").write_text("".join(
        f"{'a the one this'.split()[i % 4]} picture number {i % 7}\n" for i in range(images)))


def write_blue(path: Path) -> None:
    """A picture of 64 x 64 pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + b"\0\0\xff" * 64
    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(row * 64)) + chunk(b"IEND", b""))


PIXELS = """import io, sys
from PIL import Image
picture = Image.open(io.BytesIO(sys.stdin.buffer.read())).convert("RGB")
print(*(picture.getpixel((x, y))[0] for head in range(0, picture.width, 64)
        for y in (16, 48) for x in (head + 16, head + 48)))"""


class TensorBoard(unittest.TestCase):
    folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        for name, images in (("train", 24), ("dev", 12), ("test", 12)):
            write_split(cls.folder, name, images)
        write_blue(cls.folder / "blue.png")
        quarters = (0, 0, .5, .5, .5, 0, 1, .5, 0, .5, .5, 1, .5, .5, 1, 1)
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }".ljust(117) + "\n"
        (cls.folder / "boxes.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
                                               + header.encode() + struct.pack("<16f", *quarters))
        (cls.folder / "my.ini").write_text(CONFIG.format(folder=cls.folder))
        cls.events = cls.train()

    @classmethod
    def train(cls, *options: str) -> EventAccumulator:
        subprocess.run([TRAIN, str(cls.folder / "my.ini"), *options], check=True, capture_output=True)
        everything = {"scalars": 0, "histograms": 0, "tensors": 0, "images": 0}
        return EventAccumulator(str(cls.folder / "run"), size_guidance=everything).Reload()

    def test_scalars(self) -> None:
        lines = [json.loads(line) for line in
                 (self.folder / "run" / "metrics.jsonl").read_text().splitlines()]
        expected = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        found = [(e.step, e.value) for e in self.events.Scalars("loss")]
        self.assertEqual([step for step, _ in found], [step for step, _ in expected])
        for (_, a), (_, b) in zip(found, expected):
            self.assertAlmostEqual(a, b, delta=1e-6 * abs(b))
        results = json.loads((self.folder / "run" / "results.json").read_text())
        last = self.events.Scalars("results/test/rsum")
        self.assertEqual(len(last), 1)
        self.assertAlmostEqual(last[0].value, results["test"]["rsum"], places=3)

    def test_histograms(self) -> None:
        tags = set(self.events.Tags()["histograms"])
        self.assertEqual(tags, {f"gradients/{module}" for module in (
            "image.fc", "image.attend", "text.embed", "text.attend")}
                         | {"attention/image.attend", "attention/text.attend"})
        for tag in tags:
            found = self.events.Histograms(tag)
            self.assertEqual([e.step for e in found], [3, 6, 9], tag)
            for event in found:
                h = event.histogram_value
                self.assertEqual(sum(h.bucket), h.num, tag)
                self.assertGreater(h.num, 0)
                self.assertLess(h.min, h.max, tag)
                self.assertAlmostEqual(h.bucket_limit[-1], h.max)
                self.assertEqual(list(h.bucket_limit), sorted(h.bucket_limit))
                self.assertGreater(h.bucket[0], 0, tag)  # the least and the largest are in the ends
                self.assertGreater(h.bucket[-1], 0, tag)
                self.assertLessEqual(h.sum ** 2, h.num * h.sum_squares * (1 + 1e-9))
        # as many as the layer has: 6 x 12 weights and 12 biases
        self.assertEqual(self.events.Histograms("gradients/image.fc")[0].histogram_value.num, 84)
        # every image's regions, both heads
        weights = self.events.Histograms("attention/image.attend")[-1].histogram_value
        self.assertEqual(weights.num, 12 * REGIONS * 2)
        # self-attention: the mean over queries of what adds up to 1, of 12 captions and 2 heads
        self.assertAlmostEqual(self.events.Histograms("attention/text.attend")[-1].histogram_value.sum,
                               24, places=5)

    def test_pictures(self) -> None:
        tags = self.events.Tags()["images"]
        self.assertEqual(tags, [f"image.attend/image {i}" for i in (1, 4, 7, 10)])
        tinted = 0
        for tag in tags:
            found = self.events.Images(tag)
            self.assertEqual([e.step for e in found], [3, 6, 9])
            self.assertEqual((found[-1].width, found[-1].height), (128, 64))  # two heads
            done = subprocess.run(["/usr/bin/python3", "-c", PIXELS], check=True, capture_output=True,
                                  input=found[-1].encoded_image_string)
            red = list(map(int, done.stdout.split()))
            for head in (red[:4], red[4:]):
                if max(head) < 8:  # all regions have one weight
                    continue
                tinted += 1  # the strongest region most, the weakest not
                self.assertAlmostEqual(max(head), 0.7 * 225, delta=8)
                self.assertLess(min(head), 8)
        self.assertGreater(tinted, 0)

    def test_configuration(self) -> None:
        text = self.events.Tensors("configuration")[0].tensor_proto.string_val[0].decode()
        plugin = self.events.SummaryMetadata("configuration").plugin_data.plugin_name
        self.assertEqual(plugin, "text")
        config = (self.folder / "run" / "config.ini").read_text()
        self.assertEqual("".join(line[4:] + "\n" for line in text.splitlines()), config)

    def plugin(self, tag: str) -> bytes:
        data = self.events.SummaryMetadata(tag).plugin_data
        self.assertEqual(data.plugin_name, metadata.PLUGIN_NAME)
        return data.content

    def test_hyper_parameters(self) -> None:
        start = metadata.parse_session_start_info_plugin_data(
            self.plugin(metadata.SESSION_START_INFO_TAG))
        self.assertEqual(start.hparams["train.lr"].number_value, 0.01)
        self.assertEqual(start.hparams["run.seed"].number_value, 3)
        self.assertEqual(start.hparams["train.schedule"].string_value, "step")
        self.assertEqual(start.hparams["image.fc"].string_value, "linear width=12")
        self.assertEqual(start.hparams["loss.discrete_policy"].number_value, 1)
        self.assertNotIn("run.folder", start.hparams)
        end = metadata.parse_session_end_info_plugin_data(self.plugin(metadata.SESSION_END_INFO_TAG))
        self.assertEqual(end.status, 1)  # success
        self.assertTrue(math.isfinite(start.start_time_secs))
        self.assertGreater(end.end_time_secs, start.start_time_secs)

    def test_histograms_can_be_left_out(self) -> None:
        kept = (self.folder / "run" / "best.safetensors").read_bytes()
        events = self.train("--overwrite", "--set", "run.histograms=no")
        self.assertEqual(events.Tags()["histograms"], [])
        self.assertEqual((self.folder / "run" / "best.safetensors").read_bytes(), kept)


if __name__ == "__main__":
    unittest.main()
