# SPDX-License-Identifier: Apache-2.0
"""What a script says where a Debian package that it needs is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

PACKAGES = {"numpy": "python3-numpy", "PIL": "python3-pil"}


def stop(error: ImportError) -> NoReturn:
    """Names the package and ends with status 2; what is no such module's absence is raised again."""
    if error.name not in PACKAGES:
        raise error
    print(f"{Path(sys.argv[0]).name}: {sys.executable} has no module {error.name}: install the Debian package "
          f"{PACKAGES[error.name]} and run with /usr/bin/python3", file=sys.stderr)
    sys.exit(2)
