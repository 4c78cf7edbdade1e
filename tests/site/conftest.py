"""The site, built once for all tests of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.sources import DOCS


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a warning of the build is a failure."""
    for module in (
        "sphinx",
        "myst_parser",
        "furo",
        "sphinx_design",
        "sphinx_copybutton",
        "jupytext",
    ):
        pytest.importorskip(module, reason="needs `pip install 'persim-gym[docs]'`")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q",
        "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "html"
