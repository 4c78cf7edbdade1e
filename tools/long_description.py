"""The README as the package's long description: links that work away from the repository, too.

Hatchling calls this when it builds. Where the repository's address is known (`Source` among the
project's URLs, or a build by GitHub Actions) relative links and pictures become absolute. Elsewhere
a link's text stays without its address, and pictures are left out: nothing is broken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A link or a picture whose address is relative; addresses within the page stay.
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
#: A picture that says its width, which Markdown cannot.
_PICTURE = re.compile(r'<img src="(?![a-z]+:)([^"]+)"([^>]*)>')


def address(urls: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """The repository's address, if it is known."""
    server, name = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    return urls.get("Source") or (f"{server}/{name}" if server and name else None)


def long_description(readme: str, repository: str | None, version: str) -> str:
    """The README with links for readers who are not in the repository.

    Args:
        readme: Its Markdown.
        repository: Address of the repository, such as ``"https://github.com/me/mine"``.
        version: The version, whose tag is linked to.
    """

    def absolute(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        if repository is None:
            return "" if picture else text
        kind = "raw" if picture else "blob"
        return f"{picture}[{text}]({repository}/{kind}/v{version}/{target})"

    def absolute_picture(match: re.Match[str]) -> str:
        target, rest = match.groups()
        if repository is None:
            return ""
        return f'<img src="{repository}/raw/v{version}/{target}"{rest}>'

    return _PICTURE.sub(absolute_picture, _RELATIVE.sub(absolute, readme))


class LongDescription(MetadataHookInterface):
    """Hatchling's hook."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = address(metadata.get("urls", {}), os.environ)
        text = long_description(readme, repository, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
