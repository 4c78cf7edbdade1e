"""Every public name says what it is, and so does everything that it offers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import persim_gym

PROGRAMS = {"cli", "demo", "pages", "plots"}
MODULES = [
    "persim_gym.core",
    "persim_gym.training",
    *(
        f"persim_gym.{module.name}"
        for module in pkgutil.iter_modules(persim_gym.__path__)
        if module.ispkg and module.name not in PROGRAMS
    ),
]


def offered(thing: Any) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class of this package defines."""
    for owner in inspect.getmro(thing):
        if owner.__module__.startswith("persim_gym"):
            for name, member in vars(owner).items():
                function = getattr(member, "__func__", member)
                if not name.startswith("_") and (
                    callable(function) or isinstance(member, property)
                ):
                    yield name, member


@pytest.mark.parametrize("module_name", MODULES)
def test_public_names_are_described(module_name: str) -> None:
    module = importlib.import_module(module_name)
    bare = []
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if not inspect.getdoc(thing):
                bare.append(name)
            if inspect.isclass(thing):
                bare += [
                    f"{name}.{part}" for part, own in offered(thing) if not inspect.getdoc(own)
                ]
    assert not bare, f"{module_name}: no docstring"
