"""How Sphinx makes the site: `make docs`. The sources are the Markdown files of this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import persim_gym  # noqa: E402

project = "persim_gym"
author = "persim_gym contributors"
project_copyright = author
release = version = persim_gym.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    # Of this folder.
    "command_line",
    "llms",
    "mathml",
    "percent_notebooks",
    "public_names",
]
exclude_patterns = ["_build", "_ext", "conf.py"]

# -- Markdown --------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
# A page may begin at its second level, and blocks of single terms have no lexer of their own.
suppress_warnings = ["myst.header"]

# -- the API from docstrings -----------------------------------------------------------------------

autodoc_default_options = {
    "members": True,
    "imported-members": True,
    "member-order": "bysource",
    # What Gymnasium, PettingZoo and Python say of their own classes stands in their own pages.
    "inherited-members": "object, Generic, Protocol, Env, VectorEnv, ParallelEnv, EventDispatcher",
}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# Every reference must lead somewhere: to this package by our own pages. Other libraries' pages are
# not read while building, for a build fetches nothing.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!persim_gym\b).*")]

# -- how it looks ----------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"persim_gym {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7cc0ff", "color-brand-content": "#7cc0ff"},
}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
