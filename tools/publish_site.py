"""Put a built site into the folder of its version, beside those of other versions.

```bash
python tools/publish_site.py docs/_build/html pages v0.2.0
```

``latest`` is a copy of the newest release, or of ``dev`` as long as nothing was released. The first
page leads there, and ``versions.html`` lists all.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

RELEASE = re.compile(r"v\d+(\.\d+)*")
FIRST = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>persim_gym</title>
<meta http-equiv="refresh" content="0; url=latest/index.html">
<p><a href="latest/index.html">persim_gym</a></p></html>
"""
LIST = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>persim_gym: versions</title>
<h1>Versions</h1><ul>{items}</ul></html>
"""


def number(version: str) -> tuple[int, ...]:
    """A release's number, to sort by."""
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def publish(site: Path, pages: Path, folder: str) -> None:
    """Copy a site into place; see the module.

    Raises:
        ValueError: If the folder is neither a release, such as ``v0.2.0``, nor ``dev``.
    """
    if folder != "dev" and not RELEASE.fullmatch(folder):
        raise ValueError(f"the folder is 'dev' or a release such as 'v0.2.0', got {folder!r}")
    replace(site, pages / folder)
    releases = sorted((p.name for p in pages.iterdir() if RELEASE.fullmatch(p.name)), key=number)
    if not releases or releases[-1] == folder:
        replace(site, pages / "latest")
    (pages / ".nojekyll").touch()  # or folders that begin with a line are left out
    (pages / "index.html").write_text(FIRST)
    there = ["latest", *reversed(releases), *(["dev"] if (pages / "dev").exists() else [])]
    items = "".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in there)
    (pages / "versions.html").write_text(LIST.format(items=items))


def replace(site: Path, place: Path) -> None:
    """Let a folder be a copy of the site, and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(site, place, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python tools/publish_site.py SITE PAGES FOLDER")
    try:
        publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    except ValueError as error:
        sys.exit(f"error: {error}")
