"""The hub, played by a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


class FolderHub:
    """As much of ``HfApi`` as is used, over a folder."""

    root: Path

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        (self.root / name).mkdir(parents=True, exist_ok=exist_ok)
        return f"https://hub/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: str, **_: Any) -> None:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, name: str, **_: Any) -> str:
        if not (self.root / name).exists():
            import huggingface_hub

            raise huggingface_hub.utils.LocalEntryNotFoundError("no network\nat all")
        return str(self.root / name)
