from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from persim_gym.demo import run as demo_room
from persim_gym.demo.page import render_page
from persim_gym.demo.run import (
    STAGES,
    DemoSettings,
    StageEvent,
    demo_settings,
    rebuild_page,
    run_demo,
)
from persim_gym.offline import record
from persim_gym.plots.numbers import number, share
from persim_gym.writing import finite, read_arrays, write_arrays, write_bytes, write_json

pytestmark = pytest.mark.slow

TINY = DemoSettings(
    agents=10,
    fit={"epochs": 2, "ensemble_size": 2, "spare_members": 0, "state_hidden": [8]},
    episodes=2,
    return_episodes=2,
    plan_episodes=1,
    plan_steps=6,
    planner={"candidates": 4, "horizon": 3},
    train_steps=40,
    clip_steps=3,
)


class Page(HTMLParser):
    """What a page shows, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "srcset", "href", "data", "poster", "action")
        self.loads += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def tiny(out: Path, seed: int = 0, **options) -> tuple[Path, list[StageEvent]]:
    events: list[StageEvent] = []
    page = run_demo("cartpole", out, seed=seed, settings=TINY, on_stage=events.append, **options)
    return page, events


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """A finished demo: its page, what it told, and its progress."""
    folder = tmp_path_factory.mktemp("demo")
    told: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        data = folder / "minari"
        data.mkdir()
        patch.setenv("MINARI_DATASETS_PATH", str(data))
        page, events = tiny(folder / "out", on_progress=lambda *now: told.append(now))
    return page, events, told


def test_a_demo_tells_its_stages_and_their_progress(finished):
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


def test_the_page_needs_nothing_beside_it(finished):
    page, _, _ = finished
    text = page.read_text()
    parsed = Page(text)
    assert parsed.loads
    assert all(value.startswith(("data:image/png;", "data:video/mp4;")) for value in parsed.loads)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert parsed.tags.count("source") == parsed.tags.count("img") == 4  # dark and light
    assert "prefers-color-scheme: dark" in text
    assert page.stat().st_size < 5e6


def test_the_film_is_small_and_whole(finished):
    page, _, _ = finished
    (video,) = [v for v in Page(page.read_text()).loads if v.startswith("data:video")]
    content = base64.b64decode(video.partition(",")[2])
    assert content[4:8] == b"ftyp"
    assert len(content) < 1e6


def test_the_page_is_honest(finished):
    page, _, _ = finished
    text = " ".join("".join(Page(page.read_text()).text).split())
    assert "persim-gym demo --task cartpole --seed 0 --out" in text
    assert "for 2 episodes under" in text
    assert "cut off after 6 steps" in text
    assert "4 candidates over 3 steps" in text
    assert "40 steps in the simulator of agent 3" in text
    for word in ("gymnasium", "torch", "sha256", "± sd", "standard deviation"):
        assert word in text


def test_all_numbers_are_in_a_file(finished):
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    assert results["settings"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert results["data"]["id"] == "persim/cartpole/random-10-agents-seed-0-v0"
    assert results["data"]["agents"] == 10
    errors = results["open_loop"]["errors"]
    assert list(errors) == ["PerSim", "one for all", "nothing changes"]
    assert [row["agent"] for row in errors["PerSim"]["agents"]] == [0, 1, 2, 3, 4]
    assert set(results["open_loop"]["latent"]["r2"]) == {"force", "length"}
    episodes = {
        name: {agent: row["episodes"] for agent, row in of.items()}
        for name, of in results["returns"].items()
    }
    everyone = dict.fromkeys("01234", 2)
    assert episodes == {
        "random actions": everyone,
        "trained in the simulator": {"3": 2},
        "MPC, planned in the simulator": dict.fromkeys("01234", 1),
        "MPC, planned in the true dynamics": dict.fromkeys("01234", 1),
    }
    assert all(value <= 6 for row in results["returns"]["random actions"].values()
               for value in row["values"])  # fmt: skip
    assert set(results["seconds"]) == set(STAGES[:-1])
    assert json.loads((page.parent / "policy" / "policy.json").read_text())["agent"] == 3


def test_a_finished_demo_keeps_its_stages(finished):
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


def test_a_killed_demo_goes_on(tmp_path, root):
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


def test_a_demo_of_other_settings_is_not_mixed_in(finished):
    page, _, _ = finished
    with pytest.raises(ValueError, match="holds a demo of other settings"):
        tiny(page.parent, seed=1)


def data_of(settings: DemoSettings, seed: int = 0) -> object:
    """The transitions that a demo would fit on."""
    suite = demo_room.find_suite("cartpole")
    return demo_room._Demo(suite, Path("out"), False, seed, settings, None, None)._data()


def test_the_papers_recording_serves_smaller_demos(root):
    record("cartpole", agents=14, seed=0, dataset_id="persim/cartpole/random-v0", progress=False)
    data = data_of(TINY)
    assert data.dataset_id == "persim/cartpole/random-v0"
    assert data.num_agents == 10
    assert set(data.agent.tolist()) == set(range(10))
    assert data.population == {"size": 10, "seed": 0}


def test_data_that_were_made_otherwise_are_left_alone(root):
    others = {
        "another seed": {"seed": 1},
        "too few agents": {"agents": 9},
        "two episodes": {"episodes": 2},
        "another time limit": {"max_episode_steps": 5},
        "another population": {"population": {"seed": 3}},
        "other agents": {"agents": range(3, 20)},
        "another behaviour": {"policy": lambda obs: np.zeros(len(obs), dtype=np.int64)},
    }
    expected = None
    for why, change in others.items():
        record(
            "cartpole", **{"agents": 12, **change}, dataset_id="persim/cartpole/random-v0",
            overwrite=True, progress=False,
        )  # fmt: skip
        data = data_of(TINY)
        assert data.dataset_id == "persim/cartpole/random-10-agents-seed-0-v0", why
        expected = expected or data.sha256()
        assert data.sha256() == expected


def test_a_data_set_that_is_not_what_its_name_says_is_refused(root):
    own = "persim/cartpole/random-10-agents-seed-0-v0"
    record("cartpole", agents=9, dataset_id=own, progress=False)
    with pytest.raises(ValueError, match="not what its name says"):
        data_of(TINY)


def test_settings_of_the_three_tasks():
    for task in ("cartpole", "mountain-car", "half-cheetah"):
        full, quick = demo_settings(task), demo_settings(task, quick=True)
        assert full.agents == 500
        assert quick.agents < 500
        assert quick.episodes < full.episodes
        assert quick.train_steps < full.train_steps
    assert demo_settings("PerSim-CartPole-v0") == demo_settings("cartpole")
    with pytest.raises(ValueError, match="unknown task"):
        demo_settings("walker")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agents": 9}, "agents must be at least 10"),
        ({"plan_steps": 0}, "plan_steps must be at least 1"),
        ({"train_agent": 5}, "train_agent must be a test agent"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_no_demo_no_page(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no demo"):
        rebuild_page(tmp_path)


def test_a_machine_that_cannot_draw_still_gets_a_page(finished, monkeypatch):
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    picture = (page.parent / "figures" / "horizon.png").read_bytes()
    both = {"light": picture, "dark": picture}
    figures = dict.fromkeys(("predictions", "horizon", "latent", "returns"), both)
    results["clip"]["missing"] = "RuntimeError: no <screen>"
    text = render_page(results, figures, None)
    assert "could not draw (RuntimeError: no &lt;screen&gt;)" in text
    assert "<video" not in text
    results["quick"] = True
    assert "A quick run." in render_page(results, figures, None)
    assert "A quick run." not in text


# -- numbers and files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0324, "0.0324"), (1.0, "1.00"), (123.4, "123"), (0, "0"), (4.36e-5, "4.4·10⁻⁵"),
        (2.5e7, "2.5·10⁷"), (None, "–"), (0.99996, "1.000"), (9.98e-5, "1.0·10⁻⁴"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (0.99977, "0.9998"),
        (0.99998, "0.99998"),
        (-3.21, "-3.21"),
        (1 - 1e-7, "> 0.99999"),
        (1.0, "1"),
        (None, "–"),
    ],
)
def test_a_share_that_is_not_one_is_not_called_one(value, text):
    assert share(value) == text


def test_files_appear_whole_or_not_at_all(tmp_path):
    file = write_bytes(tmp_path / "new" / "file", b"old")
    with pytest.raises(TypeError, match="JSON"):
        write_json(file, float)  # not plain
    assert file.read_bytes() == b"old"
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    write_json(file, {"a": np.float32(0.5), "b": [np.nan, np.arange(2)], 3: (np.True_, np.inf)})
    assert json.loads(file.read_text()) == {"a": 0.5, "b": [None, [0, 1]], "3": [True, None]}
    assert finite({"x": np.int64(3)}) == {"x": 3}


def test_arrays_are_numbers_only(tmp_path):
    arrays = {"a": np.arange(3), "b": np.ones((2, 0))}
    back = read_arrays(write_arrays(tmp_path / "arrays.npz", arrays))
    assert set(back) == {"a", "b"}
    np.testing.assert_array_equal(back["a"], arrays["a"])
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "objects.npz", {"a": np.array([{}], dtype=object)})
    assert not (tmp_path / "objects.npz").exists()


def test_the_command_names_the_folder(finished):
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    assert re.fullmatch(r"persim-gym demo --task cartpole --seed 0 --out .*out", results["command"])
