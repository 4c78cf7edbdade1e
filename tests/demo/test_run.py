"""A demo's stages: run, kept, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.demo.run import STAGES, StageEvent, rebuild_page, run_demo
from tests.demo.small import TINY, Finished, tiny

pytestmark = pytest.mark.slow


def test_a_demo_tells_its_stages_and_their_progress(finished: Finished) -> None:
    page, events, told = finished
    assert [(e.stage, e.status) for e in events] == [
        (stage, status) for stage in STAGES for status in ("started", "finished")
    ]
    assert [e.index for e in events[::2]] == [1, 2, 3, 4, 5, 6]
    assert "10 agents" in events[1].note
    for stage in STAGES[:-1]:
        own = [(done, total) for name, done, total in told if name == stage]
        assert own[-1][0] == own[-1][1]
        assert [done / total for done, total in own] == sorted(d / t for d, t in own)
    assert events[-1].note == str(page)


def test_a_finished_demo_keeps_its_stages(finished: Finished) -> None:
    page, _, _ = finished
    before = (page.parent / "results.json").read_text()
    page.unlink()
    again, events = tiny(page.parent)
    assert [(e.stage, e.status) for e in events[:5]] == [(s, "kept") for s in STAGES[:-1]]
    assert again.is_file()
    assert (page.parent / "results.json").read_text() == before
    page.unlink()
    assert rebuild_page(page.parent) == page
    assert page.is_file()


def test_a_killed_demo_goes_on(tmp_path: Path, root: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(event: StageEvent) -> None:
        if (event.stage, event.status) == ("plan", "started"):
            raise Killed

    with pytest.raises(Killed):
        run_demo("cartpole", tmp_path / "out", settings=TINY, on_stage=kill)
    with pytest.raises(FileNotFoundError, match="stage 'plan' is missing"):
        rebuild_page(tmp_path / "out")
    page, events = tiny(tmp_path / "out")
    kept = [e.stage for e in events if e.status == "kept"]
    assert kept == ["record", "fit", "evaluate"]
    assert [e.stage for e in events if e.status == "finished"] == ["plan", "train", "report"]
    assert page.is_file()


def test_a_demo_of_other_settings_is_not_mixed_in(finished: Finished) -> None:
    page, _, _ = finished
    with pytest.raises(ValueError, match="holds a demo of other settings"):
        tiny(page.parent, seed=1)


def test_no_demo_no_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no demo"):
        rebuild_page(tmp_path)
