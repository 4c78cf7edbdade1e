"""Print the section of a version from `CHANGELOG.md`: the text of its release.

```bash
python tools/release_notes.py 0.1.0
```
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading.

    Raises:
        ValueError: If the changelog has no such section, or nothing stands in it.
    """
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    named = {re.match(r"\[?([^\]\s]+)", section)[1]: section for section in sections}  # type: ignore[index]
    if version not in named:
        raise ValueError(f"CHANGELOG.md has no section {version}: there are {', '.join(named)}")
    text = named[version].partition("\n")[2].strip()
    if not text:
        raise ValueError(f"the section {version} of CHANGELOG.md is empty")
    return f"{text}\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/release_notes.py VERSION")
    try:
        print(notes(CHANGELOG.read_text(), sys.argv[1].removeprefix("v")), end="")
    except ValueError as error:
        sys.exit(f"error: {error}")
