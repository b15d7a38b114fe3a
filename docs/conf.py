"""Sphinx: Markdown by MyST, the look by furo, the reference drawn from the code by reference.py before each build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import reference  # noqa: E402

from elsewhere import __version__  # noqa: E402

project = "Elsewhere"
author = "The Elsewhere authors"
copyright = author
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Elsewhere {release}"
html_copy_source = False
pygments_style = "friendly"
# README's links into the repository (../CONTRIBUTING.md and the like) are no pages of this documentation.
suppress_warnings = ["myst.xref_missing"]

reference.write(HERE / "reference")
