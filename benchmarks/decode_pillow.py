#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures from files to numbers with Pillow and numpy, to be set beside build/benchmarks/decode.

    benchmarks/decode_pillow.py SIZE PICTURE...

Prints the processor's milliseconds a picture, of one thread, medians of seven rounds: decoding, and what torchvision's
Resize(SIZE * 256 / 224), CenterCrop(SIZE) and ToTensor do, written with Pillow and numpy.
"""
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import printing  # noqa: E402

ROUNDS = 7


def decode(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def look(image, size):
    resize, shorter = round(size * 256 / 224), min(image.size)
    whole = image.resize([int(resize * side / shorter) for side in image.size], Image.BILINEAR)
    left, top = (int(round((side - size) / 2)) for side in whole.size)
    square = whole.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1), np.float32) / 255


def report(what, run, items):
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        results = [run(item) for item in items]
        times.append(1e3 * (time.process_time() - start) / len(items))
    print(f"{what:8} {statistics.median(times[1:]):.2f} ms a picture")
    return results


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    size = int(sys.argv[1])
    print(f"Pillow {PIL.__version__}")
    pictures = report("decode", decode, sys.argv[2:])
    report("look", lambda image: look(image, size), pictures)


if __name__ == "__main__":
    printing.is_the_result()
    main()
