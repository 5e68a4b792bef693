"""Builds the documentation: `make docs`, with warnings as errors."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "python"))

import reference  # noqa: E402

project = "Rill"
author = "The Rill authors"
copyright = "The Rill authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
html_theme = "furo"
html_title = "Rill"
html_show_sourcelink = False
myst_heading_anchors = 3
pygments_style = "friendly"
add_module_names = False
toc_object_entries = False


def setup(app):
    app.connect("source-read", reference.fill)
