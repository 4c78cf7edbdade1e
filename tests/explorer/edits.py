"""Edits of a browser that nobody looks at."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any


def edit(element: Any, kind: str, value: Any) -> None:
    """An event of the browser, which has this value."""
    for listener in element._event_listeners.values():
        if listener.type == kind:
            takes = inspect.signature(listener.handler).parameters
            listener.handler(*[SimpleNamespace(args=value)][: len(takes)])


def text_of(element: Any) -> str:
    """What stands in an element, as HTML."""
    return str(element.content)
