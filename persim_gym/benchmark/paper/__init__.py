"""The paper's experiments as one benchmark of independent cells, resumable, on many processors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persim_gym.benchmark.paper.page import write_report


def __getattr__(name: str) -> Any:
    # Matplotlib takes long to import: only who draws waits for it.
    if name == "write_report":
        from persim_gym.benchmark.paper.page import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["write_report"]
