"""What a release is made by: notes, lowest versions, the site's folders, wheel and archive."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import persim_gym
from tests.site.sources import ROOT
from tests.tools.programs import tool

CHANGELOG = (
    "# Changelog\n\n## [0.2.0] - unreleased\n\n* new\n\n## [0.1.0] - 2026-01-01\n\n* first\n"
)


def test_release_notes() -> None:
    notes = tool("release_notes").notes
    assert notes(CHANGELOG, "0.2.0") == "* new\n"
    assert notes(CHANGELOG, "0.1.0") == "* first\n"
    with pytest.raises(ValueError, match=r"no section 3\.0: there are 0\.2\.0, 0\.1\.0"):
        notes(CHANGELOG, "3.0")
    with pytest.raises(ValueError, match="is empty"):
        notes("## [1.0] - today\n\n## [0.9]\n\n* old\n", "1.0")


def test_the_version_has_notes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert len(tool("release_notes").notes(text, persim_gym.__version__)) > 100


def test_lowest_versions() -> None:
    constraints = tool("lowest_versions").constraints
    assert constraints(["numpy>=2.0", "minari[hdf5]>=0.5.3"]) == ["minari==0.5.3", "numpy==2.0"]
    for wrong in ("numpy", "numpy>=2,<3", "numpy==2.0", "numpy>=2; python_version > '3'"):
        with pytest.raises(ValueError, match="no lower bound"):
            constraints([wrong])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(constraints(project["dependencies"])) == len(project["dependencies"])


def test_versions_say_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == persim_gym.__version__
    groups = project["dependency-groups"]["dev"], project["project"]["optional-dependencies"]["dev"]
    assert groups[0] == groups[1]


def test_site_has_a_folder_for_each_version(tmp_path: Path) -> None:
    publish = tool("publish_site").publish
    site, pages = tmp_path / "site", tmp_path / "pages"
    (site / ".doctrees").mkdir(parents=True)
    pages.mkdir()
    latest = pages / "latest" / "index.html"
    for folder, newest in (("dev", "dev"), ("v0.9", "v0.9"), ("v0.10.1", "v0.10.1"),
                           ("dev", "v0.10.1"), ("v0.9.3", "v0.10.1")):  # fmt: skip
        (site / "index.html").write_text(folder)
        publish(site, pages, folder)
        assert (pages / folder / "index.html").read_text() == folder
        assert latest.read_text() == newest
    listed = (pages / "versions.html").read_text()
    order = [listed.index(f">{name}<") for name in ("latest", "v0.10.1", "v0.9.3", "v0.9", "dev")]
    assert order == sorted(order)
    assert not list(pages.rglob(".doctrees"))
    for wrong in ("../elsewhere", "latest", "0.1", "v1;rm"):
        with pytest.raises(ValueError, match="the folder is"):
            publish(site, pages, wrong)


@pytest.mark.slow
def test_wheel_and_archive_are_whole(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs `pip install build`")
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: git does not say which files belong to the package")
    # Where its backend is installed nothing is fetched.
    isolated = [] if importlib.util.find_spec("hatchling") is None else ["--no-isolation"]
    command = [sys.executable, "-m", "build", *isolated, "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (archive,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        there = set(file.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "persim_gym"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    assert set(tracked) <= there, "files of the package that the wheel lacks"
    assert "persim_gym/py.typed" in there
    kinds = {Path(name).suffix for name in there if name.startswith("persim_gym/")}
    assert {".py", ".safetensors", ".jinja", ".css"} <= kinds, "templates and weights"
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "tests/conftest.py"} <= names
    assert not any(name.startswith((".github/", ".venv/", "docs/_build/")) for name in names)
