"""The paper's experiments as one benchmark of independent cells, resumable, on many processors."""

from typing import TYPE_CHECKING, Any

from persim_gym.experiments.cell import Cell
from persim_gym.experiments.presets import preset_cells, select_cells
from persim_gym.experiments.row_files import RowFiles
from persim_gym.experiments.runner import run_cells

if TYPE_CHECKING:
    from persim_gym.experiments.report.page import write_report


def __getattr__(name: str) -> Any:
    # Matplotlib takes long to import: only who draws waits for it.
    if name == "write_report":
        from persim_gym.experiments.report.page import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Cell", "RowFiles", "preset_cells", "run_cells", "select_cells", "write_report"]
