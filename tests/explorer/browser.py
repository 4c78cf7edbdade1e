"""The explorer in a real browser, where there is one: Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
#: Milliseconds after which a test takes something for missing; on a busy machine all is slow.
PATIENCE = 30_000


@contextmanager
def served(*arguments: str, cwd: Path) -> Iterator[str]:
    """The address of ``persim-gym explore`` with arguments, as long as the block runs."""
    command = [sys.executable, "-m", "persim_gym", "explore", *arguments, "--no-browser"]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        if not line.startswith("http://127.0.0.1:"):
            server.kill()
            pytest.fail(f"the explorer did not start: {line}{server.stderr.read()}")
        try:
            yield line.split()[0]
        finally:
            server.send_signal(signal.SIGINT)
            out, err = server.communicate()
    assert server.returncode == 0, err
    assert "Traceback" not in err
