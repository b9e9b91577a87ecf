"""How the pages are built: `sphinx-build -W docs site`. What the package says of itself is written by `generated.py` first."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from toolkit.version import VERSION  # noqa: E402

project = "toolkit"
release = version = VERSION
author = copyright = "the authors of toolkit"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
html_theme = "furo"
html_title = f"toolkit {VERSION}"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]
nb_execution_mode = "off"
"""Notebooks carry what they came to; `tests/docs` runs their scripts."""
exclude_patterns = ["_build", "notebooks/*.py"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
suppress_warnings = ["misc.highlighting_failure"]
