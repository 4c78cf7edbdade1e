"""Draw the idea of the package as an SVG that can be read on light and on dark screens.

python tools/idea_picture.py docs/images/idea.svg
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

WIDTH, HEIGHT = 640, 300
STYLE = """
  text { font: 15px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #2b3238; }
  .head { font-weight: 600; } .small { font-size: 13px; fill: #59636d; }
  .card { fill: #ffffff; stroke: #c9ccc6; } .shared { fill: #f1efe8; stroke: #946406; }
  .true { stroke: #3a6ea5; } .learned { stroke: #c24e2a; } .arrow { stroke: #59636d; }
  .line { fill: none; stroke-width: 2.5; stroke-linecap: round; } .tip { fill: #59636d; }
  .dashed { stroke-dasharray: 6 4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e4de; } .small { fill: #9aa4ad; } .card { fill: #1e2226; stroke: #4a525a; }
    .shared { fill: #2a261c; stroke: #e3b751; } .true { stroke: #79addb; }
    .learned { stroke: #ef8259; } .arrow { stroke: #9aa4ad; } .tip { fill: #9aa4ad; }
  }
"""
#: How fast and how far each agent swings; the third dies out.
AGENTS = ((1.0, 13.0, 0.0), (1.9, 9.0, 0.0), (1.4, 15.0, 0.022))


def course(x: float, y: float, agent: tuple[float, float, float], begin: int, end: int) -> str:
    """A swing as the points of a line, from pixel ``begin`` to ``end`` of its card."""
    speed, size, decay = agent
    places = range(begin, end + 1, 3)
    heights = [size * math.exp(-decay * k) * math.sin(speed * k / 9) for k in places]
    return " ".join(f"{x + k:.0f},{y - h:.1f}" for k, h in zip(places, heights, strict=True))


def arrow(x: float, y: float, length: float) -> str:
    """An arrow to the right."""
    end = x + length
    return (
        f'<line class="line arrow" x1="{x}" y1="{y}" x2="{end - 6}" y2="{y}"/>'
        f'<path class="tip" d="M{end} {y} l-9 -5 v10 z"/>'
    )


def picture() -> str:
    """The SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="520" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" '
        'aria-label="One recording of each agent, one fit, one simulator for each agent">',
        f"<style>{STYLE}</style>",
        '<text class="head" x="15" y="24">One recording each</text>',
        '<text class="head" x="225" y="24">One fit of them all</text>',
        '<text class="head" x="465" y="24">A simulator each</text>',
    ]
    for i, agent in enumerate(AGENTS):
        y = 76 + 78 * i
        for x, label in ((15, f"agent {i + 1}"), (465, f"agent {i + 1}: what if?")):
            parts.append(
                f'<rect class="card" x="{x}" y="{y - 36}" width="160" height="66" rx="9"/>'
            )
            parts.append(f'<text class="small" x="{x + 10}" y="{y - 18}">{label}</text>')
        parts.append(f'<polyline class="line true" points="{course(15, y + 8, agent, 12, 147)}"/>')
        begin = course(465, y + 8, agent, 12, 48)
        rest = course(465, y + 8, agent, 48, 147)
        parts.append(f'<polyline class="line true" points="{begin}"/>')
        parts.append(f'<polyline class="line learned dashed" points="{rest}"/>')
        parts += [arrow(180, y, 38), arrow(422, y, 38)]
    parts += [
        '<rect class="shared" x="225" y="40" width="190" height="222" rx="12"/>',
        '<text x="240" y="84">change of the state =</text>',
        '<text x="240" y="120">what is personal:</text>',
        '<text class="small" x="252" y="140">a few numbers each</text>',
        '<text x="240" y="172">× what is shared:</text>',
        '<text class="small" x="252" y="192">functions of the state</text>',
        '<text class="small" x="252" y="210">and of the action</text>',
        '<text class="small" x="15" y="288">Blue: recorded. Red, dashed: predicted, for actions '
        "that nobody took.</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(), encoding="utf-8")
