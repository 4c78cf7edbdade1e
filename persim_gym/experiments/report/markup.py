"""Parts of HTML pages that need nothing beside them, for light and dark screens."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from persim_gym.plots.style import DENSITY, data_url


def document(title: str, sections: Sequence[str]) -> str:
    """A page of sections."""
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


class Bold(str):
    """Text of a table's cell that stands out."""

    __slots__ = ()


def tile(value: str, name: str, text: str) -> str:
    """A large number with its name and a few words."""
    return (
        f'<div class="tile"><p class="value">{escaped(value)}</p>'
        f'<p class="name">{escaped(name)}</p>'
        f"<p>{escaped(text)}</p></div>"
    )


def picture(of: Mapping[str, bytes], alt: str, caption: str) -> str:
    """A figure, given as ``"light"`` and ``"dark"`` PNGs."""
    light, dark = (data_url(of[shade], "image/png") for shade in ("light", "dark"))
    width = int.from_bytes(of["light"][16:20], "big") // DENSITY
    return f"""<figure><picture>
<source media="(prefers-color-scheme: dark)" srcset="{dark}">
<img src="{light}" alt="{escaped(alt)}" style="width:{width}px">
</picture><figcaption>{escaped(caption)}</figcaption></figure>"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table that scrolls by itself where it is too wide; the first ``left`` columns are text."""
    top = "".join(f"<th>{escaped(cell)}</th>" for cell in head)
    kind = f' class="left{left}"' if left > 1 else ""
    return (
        f'<div class="wide"><table{kind}><thead><tr>{top}</tr></thead>{body_rows(rows)}'
        "</table></div>"
    )


def two_row_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in which ``"name|first|second"`` is a heading over several columns."""
    top, below = "", ""
    for cell in head:
        name, *parts = cell.split("|")
        if parts:
            top += f'<th class="over" colspan="{len(parts)}">{escaped(name)}</th>'
            below += "".join(f"<th>{escaped(part)}</th>" for part in parts)
        else:
            top += f'<th rowspan="2">{escaped(name)}</th>'
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr><tr>{below}</tr></thead>{body_rows(rows)}'
        "</table></div>"
    )


def body_rows(rows: Sequence[Sequence[str]]) -> str:
    """A table's lines; a cell that is :class:`Bold` is so."""
    lines = ("".join(f"<td>{_marked(cell)}</td>" for cell in row) for row in rows)
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


def _marked(cell: str) -> str:
    return f"<strong>{escaped(cell)}</strong>" if isinstance(cell, Bold) else escaped(cell)


def escaped(value: object) -> str:
    """Text for HTML; a number has a true minus sign."""
    return html.escape(
        str(value).replace("-", "\N{MINUS SIGN}") if _is_number(value) else str(value)
    )


def plain(text: str) -> str:
    """Text for Markdown that no part of it takes for markup: tags, links, code, a new line."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", one_line)


def code(lines: Sequence[str], language: str = "") -> list[str]:
    """Lines as a block of code in Markdown, which none of them can end."""
    lines = [" ".join(line.split()) for line in lines]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *lines, fence]


def _is_number(value: object) -> bool:
    text = str(value)
    return text.startswith("-") and text[1:2].isdigit()


STYLE = """
:root { --paper: #f7f6f2; --card: #ffffff; --ink: #2b3238; --faint: #6c7680; --line: #e2e2dc;
  --warm: #d1603d; --cool: #3a6ea5; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --card: #1e2226; --ink: #e6e4de; --faint: #9aa4ad; --line: #333a40;
    --warm: #ef8259; --cool: #79addb; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 56px 24px 80px; }
h1 { font-size: clamp(28px, 4.6vw, 44px); line-height: 1.12; letter-spacing: -0.02em;
  margin: 0 0 18px; text-wrap: balance; }
h2 { font-size: 25px; letter-spacing: -0.01em; margin: 0 0 10px; }
h3 { font-size: 17px; margin: 30px 0 0; }
details { margin: 14px 0; }
p { margin: 0 0 14px; max-width: 76ch; }
.eyebrow { color: var(--warm); font-weight: 600; margin-bottom: 10px; }
.lead { font-size: 18px; }
.small, figcaption { color: var(--faint); font-size: 14px; }
.note { background: color-mix(in srgb, var(--warm) 12%, var(--card)); border-radius: 10px;
  padding: 12px 16px; max-width: none; }
section { margin-top: 56px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(225px, 1fr)); gap: 16px;
  margin-top: 32px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 20px 20px 8px; }
.tile .value { font-size: 30px; font-weight: 700; letter-spacing: -0.02em; margin: 0;
  line-height: 1.15; font-variant-numeric: tabular-nums; }
.tile .name { font-weight: 600; color: var(--cool); margin: 4px 0 8px; line-height: 1.3; }
.tile p:last-child { color: var(--faint); font-size: 14px; line-height: 1.45; }
figure { margin: 22px 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 16px; }
figure img, figure video { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure video { width: 100%; border-radius: 8px; }
figcaption { margin-top: 12px; max-width: 92ch; }
.wide { overflow-x: auto; margin: 18px 0 12px; }
table { border-collapse: collapse; font-size: 14.5px; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; white-space: normal;
  line-height: 1.3; }
table:not([class]) td:first-child { white-space: normal; }
th.over { text-align: center; }
thead tr:first-child th:first-child, td:first-child { text-align: left; }
.left2 :is(th, td):nth-child(-n+2),
.left3 :is(th, td):nth-child(-n+3),
.left4 :is(th, td):nth-child(-n+4),
.left5 :is(th, td):nth-child(-n+5),
.left6 :is(th, td):nth-child(-n+6) { text-align: left; }
tbody tr:hover { background: color-mix(in srgb, var(--cool) 7%, transparent); }
.pair { display: grid; grid-template-columns: 3fr 2fr; gap: 28px; align-items: start; }
.pair > * { min-width: 0; }
@media (max-width: 820px) { .pair { grid-template-columns: 1fr; } }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; overflow-x: auto; font-size: 13.5px; line-height: 1.5; }
.command { font-size: 15px; }
dl { margin: 18px 0 0; display: grid; grid-template-columns: auto 1fr; gap: 6px 18px;
  font-size: 14.5px; align-content: start; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--cool); font-weight: 600; }
"""
