"""`python -m elsewhere.compat.cloudrun.demo`: the jobs of ./config.py."""

from __future__ import annotations

import sys

from elsewhere.compat.cloudrun.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
