"""The documentation as a site: `make docs` builds it into site/, with warnings as errors."""

import os
import sys

sys.path.insert(0, os.path.abspath(".."))

import kerasvino

project = "kerasvino"
author = "the kerasvino developers"
copyright = f"2026, {author}"
release = kerasvino.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"kerasvino {release}"
html_static_path = []
exclude_patterns = ["_*"]

myst_enable_extensions = ["html_image"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may begin with its second level

# Docstrings are Google's style with Markdown's single backticks, which are code here.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
