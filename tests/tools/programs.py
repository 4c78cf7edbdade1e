"""The programs of the folder `tools`, as modules."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.site.sources import ROOT


def tool(name: str) -> ModuleType:
    """A program of the folder `tools`, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
