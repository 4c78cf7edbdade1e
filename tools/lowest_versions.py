"""Print pip constraints that hold every dependency at the lower bound of `pyproject.toml`.

```bash
python tools/lowest_versions.py > lowest.txt
pip install -c lowest.txt dist/*.whl
```
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*(?P<version>[\w.]+)")


def constraints(requirements: list[str]) -> list[str]:
    """``name==version`` of each ``name[extra]>=version``.

    Raises:
        ValueError: If a requirement is anything but a lower bound.
    """
    found = {}
    for requirement in requirements:
        match = REQUIREMENT.fullmatch(requirement.strip())
        if match is None:
            raise ValueError(f"{requirement!r} is no lower bound such as 'numpy>=2.0'")
        found[match["name"].lower()] = match["version"]
    # A bound may name a series: >=2.0 is met first by 2.0.0, which == 2.0 means as well.
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    print("\n".join(constraints(project["dependencies"])))
