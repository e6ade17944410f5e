"""The documentation as a site, built by `make docs`: Sphinx with the theme furo and pages in Markdown (MyST)."""

import os
import re
from configparser import ConfigParser
from pathlib import Path

# Notebooks and imported packages draw without a screen, and small networks run fastest on one thread.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

_settings = ConfigParser()
_settings.read(Path(__file__).resolve().parent.parent / "setup.cfg")

project = "rlhf-envs"
author = _settings["metadata"]["author"]
copyright = author
version = release = _settings["metadata"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples", "example_dataset"]

html_theme = "furo"
html_title = f"rlhf-envs {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Every notebook is run when the site is built, so that what it shows is what this version does.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# In docstrings, text in single backticks is code.
default_role = "code"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar, napoleon_attr_annotations = True, False
napoleon_use_rtype = False


def _as_text(app, what, name, obj, options, lines):
    """Take the stars and bars of docstrings as they are: shapes such as (T, *obs), and |x|, not as markup of theirs."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[number] = "".join(part if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts)
    if what in ("attribute", "property") and lines:
        # Or else napoleon takes what stands before the colon for a type.
        lines[0] = lines[0].replace(": ", " – ", 1)


_ARRAY = r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?(?:numpy|typing)\.(\w+)\]\]"


def _with_short_arrays(app, what, name, obj, options, signature, result):
    """Name arrays as the code does, NDArray[float32], and not by all that this stands for."""

    def shorter(text):
        return text and re.sub(_ARRAY, r"NDArray[\1]", text)

    if signature == "(*args, **kwargs)":  # of a protocol, which nobody calls
        signature = ""
    return shorter(signature), shorter(result)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _as_text, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-signature", _with_short_arrays)
