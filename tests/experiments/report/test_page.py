"""The report of a benchmark: files that hold what they should, of folders whole and not."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from matplotlib.colors import to_hex
from PIL import Image

from persim_gym.experiments import write_report
from persim_gym.experiments.ledger import note_start
from persim_gym.experiments.report import page
from persim_gym.experiments.report.page import commands, facts, missing_lines, warnings
from persim_gym.experiments.results import Findings, read_findings
from persim_gym.plots.style import DARK, LIGHT
from tests.experiments.paper_rows import (
    VERSIONS,
    cell,
    everything,
    predicted,
    write,
)
from tests.pages.parsed import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = everything(seeds=2, tasks=("cartpole",), datasets=("random",), agents=2)
    return write(tmp_path_factory.mktemp("whole") / "runs", rows)


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    return write_report(folder, folder.parent / "report").parent


@pytest.mark.slow
def test_files(folder: Path, report: Path) -> None:
    names = sorted(path.name for path in report.iterdir())
    assert names == ["figures", "report.html", "report.md", "results.csv"]
    drawn = {"horizon-cartpole", "returns-cartpole", "planners", "scarcity", "unseen"}
    drawn |= {"latent-cartpole"}
    there = {path.name for path in (report / "figures").iterdir()}
    assert there == {f"{name}{end}.png" for name in drawn for end in ("", "-dark")}
    assert not list(folder.glob("*.html"))


@pytest.mark.slow
def test_page_needs_nothing_beside_it(report: Path) -> None:
    html = (report / "report.html").read_text()
    page = Page(html)
    assert page.tags.count("img") == 6
    assert {address[:5] for address in page.loads} == {"data:"}
    assert set(page.boxes) == {"wide"}  # a wide table scrolls by itself
    for name in ("PerSim", "Pooled model", "Test policy", "What is not there?"):
        assert name in html
    assert "Nothing: all that the folder implies is there." in html
    assert "<strong>" in html


@pytest.mark.slow
def test_markdown_has_the_same_tables(report: Path) -> None:
    text = (report / "report.md").read_text()
    html = (report / "report.html").read_text()
    titles = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert len(titles) == len(set(titles)) == 11
    assert all(str(escape(title)) in html for title in titles)
    for link in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (report / link).is_file()
    # Every line of a table has as many cells as its head.
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in block.splitlines()}) == 1


@pytest.mark.slow
def test_same_rows_same_files(tmp_path: Path) -> None:
    rows = [predicted("persim", [0.1 * k], seed=k) for k in (1, 2, 3)]
    folder = write(tmp_path / "runs", rows)
    first, again = (write_report(folder, tmp_path / name).parent for name in ("a", "b"))
    for name in ("report.html", "report.md", "results.csv", "figures/horizon-cartpole-dark.png"):
        assert (again / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.slow
def test_pages_go_into_the_folder_by_default(tmp_path: Path) -> None:
    write(tmp_path, [predicted("persistence", [0.1], None)])
    assert write_report(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "rows").is_dir()


def test_facts_and_commands(tmp_path: Path) -> None:
    done = predicted("persim", [0.1, 0.1])
    write(tmp_path, [done])
    wanted = [done.cell, cell("prediction", "persim", seed=1)]
    command = "persim-gym benchmark --preset quick --out runs/x"
    note_start(tmp_path, wanted, command=command, preset="quick")
    findings = read_findings(tmp_path)
    said = dict(facts(findings))
    assert said["cells"] == "1 done, 0 failed, 1 missing"
    assert said["asked for"] == "1 of 2 cells done, preset quick"
    assert said["finished"] == "2026-01-02T03:04:05+00:00"
    assert said["machine"] == "Linux x86_64, 2 cores, threads: 1, cpu"
    assert "persim-gym 1.2.3" in said["versions"]
    assert commands(findings, "x") == [command, "persim-gym report x"]


@pytest.mark.slow
def test_different_versions_are_warned_of(tmp_path: Path) -> None:
    old = VERSIONS | {"persim-gym": "0.9"}
    rows = [predicted("persim", [0.1]), predicted("persim", [0.1], seed=1, made={"versions": old})]
    assert warnings(Findings(rows[:1])) == []
    assert "different versions of persim-gym (0.9, 1.2.3)" in warnings(Findings(rows))[0]
    html = write_report(write(tmp_path, rows)).read_text()
    assert "different versions of persim-gym" in html
    assert "**Warning.**" in (tmp_path / "report.md").read_text()


def test_other_sizes_are_warned_of() -> None:
    rows = [predicted("persim", [0.1]), predicted("persim", [0.9], episodes=10)]
    (said,) = warnings(Findings(rows))
    assert "with 10 episodes" in said


@pytest.mark.slow
def test_missing_and_failed_cells_are_named(tmp_path: Path) -> None:
    write(tmp_path, [predicted("persim", [0.1]), predicted("one-for-all", [0.5], "pure")])
    (tmp_path / "failed").mkdir()
    failed = cell("prediction", "one-for-all", "random")
    note = f"{json.dumps(failed.to_json())}\nx\nValueError: a <b> & c\n"
    (tmp_path / "failed" / f"{failed.key}.txt").write_text(note)
    html = write_report(tmp_path).read_text()
    assert "prediction, cartpole, random, Pooled model, 100 agents, seed 0" in html
    assert "ValueError: a &lt;b&gt; &amp; c" in html
    findings = read_findings(tmp_path)
    assert dict(facts(findings))["cells"] == "2 done, 1 failed, 1 missing"
    lines = missing_lines(findings)
    assert lines == [("prediction, cartpole, pure, PerSim, 100 agents", "0")]
    text = (tmp_path / "report.md").read_text()
    assert "- prediction, cartpole, pure, PerSim, 100 agents: 0" in text
    assert "## Failed cells" in text


EVIL = "<script>alert(1)</script> [a](javascript:b) ![c](d) `e` *f* | g\n# h ``` i"


@pytest.mark.slow
def test_no_text_of_a_folder_becomes_markup(tmp_path: Path) -> None:
    """Of rows, failures and commands alike, in the page and in Markdown."""
    machine = {"cores": EVIL, "threads": EVIL, "device": EVIL, "system": EVIL}
    versions = {**VERSIONS, "persim-gym": EVIL, EVIL: EVIL}
    own = replace(predicted("persim", [0.1]), machine=machine, versions=versions, finished=EVIL)
    write(tmp_path, [own, predicted("one-for-all", [0.2])])
    note_start(tmp_path, [own.cell], command=EVIL, preset=EVIL)
    (tmp_path / "failed").mkdir()
    failed = cell("prediction", "one-for-all", "pure")
    (tmp_path / "failed" / f"{failed.key}.txt").write_text(EVIL.replace("\n", " "))
    (tmp_path / "failed" / "<img src=x>.txt").write_text("ValueError: " + EVIL)
    html = write_report(tmp_path).read_text()
    assert html.count("alert(1)") >= 4
    assert "<script" not in html
    assert "<img src=x" not in html
    text = (tmp_path / "report.md").read_text()
    outside, inside, _ = re.split(r"^`{4,}.*$", text, flags=re.MULTILINE)
    assert inside.count("alert(1)") == 1
    assert outside.count("alert(1)") >= 4
    assert "<" not in outside.replace("<br>", "")
    assert not re.search(r"(?<!\\)\]\(java", outside)
    assert not re.search(r"(?<!\\)`e", outside)
    assert "\n# h" not in text


def test_nothing_is_written_of_a_damaged_folder(tmp_path: Path) -> None:
    write(tmp_path, [predicted("persim", [0.1])])
    (path,) = (tmp_path / "rows").iterdir()
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("report*"))
    assert not (tmp_path / "figures").exists()


@pytest.mark.slow
def test_themes_differ(report: Path) -> None:
    for shade, theme in (("", LIGHT), ("-dark", DARK)):
        image = Image.open(report / "figures" / f"scarcity{shade}.png").convert("RGB")
        corner = image.getpixel((0, 0))
        assert isinstance(corner, tuple)
        assert to_hex(np.array(corner[:3]) / 255) == theme.paper


def test_page_is_imported_lazily() -> None:
    from persim_gym import experiments as paper

    assert paper.write_report is page.write_report
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = paper.nothing


@pytest.mark.slow
def test_pngs_are_small(report: Path) -> None:
    for path in (report / "figures").iterdir():
        content = path.read_bytes()
        assert len(content) < 200_000
        assert Image.open(io.BytesIO(content)).width <= 2200
