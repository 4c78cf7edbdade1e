"""What all figures share: colours for paper and for screen, plain axes, and files.

Figures are plain matplotlib without ``pyplot``: nothing global is touched and no window opens.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from persim_gym import checks
from persim_gym.pages import DENSITY
from persim_gym.writing import write_bytes

_DPI = 100  # CSS pixels of an inch


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours for one background.

    True dynamics are cool, what is learned is warm, as in the films.

    Attributes:
        ink: Text.
        faint: Secondary text and marks.
        grid: Lines of the grid.
        paper: The background.
        true: What was.
        learned: What PerSim predicts, and what was done with it.
        pooled: The pooled model.
        nothing: Doing or predicting nothing in particular.
        trained: A policy that was trained in the simulator.
        scale: From low to high.
    """

    ink: str
    faint: str
    grid: str
    paper: str
    true: str
    learned: str
    pooled: str
    nothing: str
    trained: str
    scale: tuple[str, ...]


LIGHT = Theme(
    ink="#2b3238", faint="#59636d", grid="#e4e5e1", paper="#ffffff", true="#3a6ea5",
    learned="#c24e2a", pooled="#946406", nothing="#656f78", trained="#3f7a5c",
    scale=("#2f4b6e", "#5f8fb0", "#c9c3b2", "#e0975f", "#b8452b"),
)  # fmt: skip
DARK = Theme(
    ink="#e6e4de", faint="#9aa4ad", grid="#363c42", paper="#1e2226", true="#79addb",
    learned="#ef8259", pooled="#e3b751", nothing="#8f99a2", trained="#85bd9f",
    scale=("#5d8fc4", "#7fb0cc", "#d8d2c1", "#eba56c", "#e8674a"),
)  # fmt: skip


# -- axes ------------------------------------------------------------------------------------------


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of a size in inches, of 100 CSS pixels each."""
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, theme: Theme) -> None:
    """Two thin spines, a faint grid, and plain numbers."""
    axes.set_facecolor(theme.paper)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.grid)
    axes.tick_params(
        which="both", colors=theme.faint, labelsize=9, length=3, width=0.8, color=theme.grid
    )
    axes.grid(visible=True, color=theme.grid, lw=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(FuncFormatter(number))
    axes.yaxis.set_major_formatter(FuncFormatter(number))


def label_axes(axes: Axes, x: str, y: str, theme: Theme) -> None:
    """Names of the two axes; ``""`` for none."""
    axes.set_xlabel(x, fontsize=10, color=theme.faint, labelpad=3)
    axes.set_ylabel(y, fontsize=10, color=theme.faint, labelpad=3)


def log_scale(axes: Axes) -> None:
    """A logarithmic y axis, with powers of ten where there are enough of them to read it by."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low >= 100:
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_formatter(LogFormatterMathtext())
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(number))
    axes.yaxis.set_minor_formatter(NullFormatter())


def legend_above(figure: Figure, handles: Sequence[Artist], theme: Theme) -> None:
    """A legend at the figure's top, with as many columns as there is room for."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    room = int(figure.get_figwidth() / (0.75 + 0.085 * longest))  # inches of a mark and of a letter
    columns = max(1, min(len(handles), room))
    figure.legend(
        handles=list(handles), loc="upper center", bbox_to_anchor=(0.52, 1.0), frameon=False,
        ncols=columns, fontsize=10, handlelength=1.9, columnspacing=1.6, labelcolor=theme.ink,
    )  # fmt: skip


def rings(axes: Axes, x: NDArray[Any], y: NDArray[Any], theme: Theme) -> None:
    """Circles around points, such as the test agents'."""
    axes.scatter(x, y, s=41, facecolors="none", edgecolors=theme.ink, linewidths=1.1, zorder=3)


def number(value: float, _: int | None = None) -> str:
    """A tick's number with a true minus sign."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-12 else "0"


# -- files -----------------------------------------------------------------------------------------


def to_png(figure: Figure) -> bytes:
    """A figure as a PNG of two pixels a CSS pixel, with 256 colours: a third of the size."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DENSITY * _DPI, facecolor=figure.get_facecolor())
    picture = Image.open(stream).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def pngs(draw: Callable[..., Figure]) -> dict[str, bytes]:
    """A figure for ``"light"`` and ``"dark"`` screens, drawn in each ``theme``."""
    return {"light": to_png(draw(theme=LIGHT)), "dark": to_png(draw(theme=DARK))}


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as a file; ``.png``, ``.svg`` or ``.pdf`` decides the format.

    Raises:
        ValueError: If the suffix is another.
    """
    path = checks.output_file("path", path)
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"a figure is written as .png, .svg or .pdf, got {str(path)!r}")
    stream = io.BytesIO()
    figure.savefig(
        stream, format=path.suffix[1:], dpi=DENSITY * _DPI, facecolor=figure.get_facecolor()
    )
    return write_bytes(path, stream.getvalue())
