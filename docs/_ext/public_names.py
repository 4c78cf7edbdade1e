"""What the API reference holds: the names that the packages export.

Docstrings and annotations name things where they are defined
(``persim_gym.learned.simulator.PerSim``); the reference shows them where they are imported from
(``persim_gym.learned.PerSim``). Here the one is led to the other. A name of this package that is
not exported stays text if it exists, and is a broken reference if it does not.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import persim_gym

#: Modules whose names are the public API, beside packages that export names.
MODULES = ("persim_gym.core", "persim_gym.hub", "persim_gym.metrics", "persim_gym.training")
#: Packages that are parts of the programs.
PROGRAMS = ("cli", "demo", "pages", "plots", "interrupts")


@cache
def public_modules() -> tuple[str, ...]:
    """The modules with a page in the reference, in the order of their names."""
    found = ["persim_gym", *MODULES]
    for module in pkgutil.iter_modules(persim_gym.__path__):
        if module.ispkg and module.name not in PROGRAMS:
            name = f"persim_gym.{module.name}"
            if getattr(importlib.import_module(name), "__all__", ()):
                found.append(name)
    return tuple(sorted(found))


def exported(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a module, and what they stand for."""
    own = (n for n, o in vars(module).items() if getattr(o, "__module__", "") == module.__name__)
    for name in getattr(module, "__all__", None) or [n for n in own if not n.startswith("_")]:
        yield name, getattr(module, name)


@cache
def public_names() -> dict[str, str]:
    """Where a name is defined -> where it is documented."""
    found = {}
    for module_name in public_modules():
        for name, thing in exported(importlib.import_module(module_name)):
            home = getattr(thing, "__module__", module_name)
            found[f"{home}.{getattr(thing, '__qualname__', name)}"] = f"{module_name}.{name}"
            found.setdefault(f"persim_gym.{name}", f"{module_name}.{name}")
    return found


def load_lazy_names(app: Sphinx) -> None:
    """Put names that a module imports only when they are asked for where autodoc finds them."""
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name, thing in list(exported(module)):
            setattr(module, name, thing)


def comment_constants(app: Sphinx) -> None:
    """Let exported values have the ``#:`` comment of the module that defines them."""
    homes = [m for m in sys.modules if m.startswith("persim_gym.")]
    for module_name in public_modules():
        here = ModuleAnalyzer.for_module(module_name)
        here.analyze()
        for name, thing in exported(sys.modules[module_name]):
            if hasattr(thing, "__qualname__"):
                continue  # a class or a function
            comment = here.attr_docs.get(("", name), [""])
            for home in homes:
                if vars(sys.modules[home]).get(name) is thing:
                    there = ModuleAnalyzer.for_module(home).find_attr_docs()
                    comment = there.get(("", name), comment)
            here.attr_docs[("", name)] = [*comment, ":meta hide-value:", ""]


def exists(target: str) -> bool:
    """Whether a dotted name of this package leads to something."""
    parts = target.split(".")
    for k in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            continue
        for part in parts[k:]:
            fields = getattr(thing, "__dataclass_fields__", {})
            if not hasattr(thing, part) and part not in fields:
                return part in getattr(thing, "__annotations__", {})
            thing = getattr(thing, part, None)
        return True
    return False


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Lead references to their page, and folders of the repository to plain text."""
    target = node["reftarget"]
    if node.get("reftype") == "myst" and node.get("refdomain") is None:
        folder = Path(app.env.doc2path(node["refdoc"])).parent / target
        return content if target and folder.is_dir() else None
    if node.get("refdomain") != "py":
        return None
    here = (node.get("py:module") or "", node.get("py:class"))
    tried = [target, *(f"{place}.{target}" for place in here if place), f"persim_gym.{target}"]
    for name in tried:
        home, _, member = name.rpartition(".")
        for key, rest in ((name, ""), (home, f".{member}")):
            if key in public_names():
                wanted = f"{public_names()[key]}{rest}"
                found = env.domains.python_domain.resolve_xref(
                    env, node["refdoc"], app.builder, node["reftype"], wanted, node, content
                )
                if found is not None:
                    return found
    return content if any(exists(name) for name in tried) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", load_lazy_names)
    app.connect("builder-inited", comment_constants)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
