"""The table of worlds and references: what is scored is right, and nothing is computed twice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.worlds import (  # noqa: E402
    bodies,
    cells,
    families,
    libraries,
    limit,
    methods,
    recording,
    references,
    score,
    table,
)
from benchmarks.worlds.__main__ import main  # noqa: E402

sys.path.remove(str(ROOT))


SLOW = {"swimmer", "reacher", "slider"}  # bodies of MuJoCo: acrobot stands for them


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in cells.WORLDS],
)
def test_every_world_is_recorded_and_tested(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "EPISODES", 1)
    found = recording.record(cells.Cell(name, 6, steps=30))
    again = recording.record(cells.Cell(name, 6, steps=30))
    assert found.table.equals(again.table)
    t = found.transitions
    assert (t.num_agents, t.obs.shape[1]) == (6, len(found.world.obs_names))
    assert (found.deviation > 1e-3).all()
    for label, tests in found.tests.items():
        assert np.array_equal(tests.truth, again.tests[label].truth)
        assert np.isfinite(tests.truth).all()
        assert tests.valid[:, 0].mean() > 0.5
        perfect = np.array(score.errors(found, tests, tests.truth.copy())["1"])
        assert (perfect[np.isfinite(perfect)] == score.LEAST).all()
    # Agents differ: from one state, under one action, they come to different ones.
    rng = np.random.default_rng(0)
    world, own = found.world, found.world.parameters(rng, 6)
    if isinstance(world, bodies.Body):
        ends = [t.next_obs[t.agent == agent][-1] for agent in range(6)]
        assert len(np.unique(ends, axis=0)) == 6
        with pytest.raises(ValueError, match="no process noise"):
            recording.record(cells.Cell(name, 2, steps=3, process=0.1))
        return
    states = np.repeat(world.start(rng, 1), 6, axis=0)
    actions: Any = np.ones(6, dtype=np.int64) if world.choices else np.ones((6, 1)) * world.high
    for _ in range(40):
        states = world.step(states, actions, own)
    assert len(np.unique(world.observe(states), axis=0)) == 6


def test_noise_and_gaps_are_in_the_record_and_not_in_the_truth() -> None:
    plain, noisy, shaken, gaps = (
        recording.record(cells.Cell("prey", 20, **changed))
        for changed in ({}, {"noise": 0.1}, {"process": 0.1}, {"missing": 0.2})
    )
    off = (noisy.table["prey"] - plain.table["prey"]).std()
    assert off == pytest.approx(0.1 * plain.deviation[0], rel=0.1)
    assert not np.allclose(shaken.table["prey"], plain.table["prey"], rtol=0.01)
    assert len(gaps.table) == pytest.approx(0.8 * len(plain.table), rel=0.05)
    for other in (noisy, shaken, gaps):
        assert np.array_equal(other.tests["same"].truth, plain.tests["same"].truth)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in methods.REFERENCES if n != "mlp"])
def test_references_on_a_law_that_they_hold(name: str) -> None:
    """Each agent's own linear law: exact by each agent's own regression, and by no pooled one."""
    if name in methods.NEEDS:
        pytest.importorskip(methods.NEEDS[name])
    found = recording.record(cells.Cell("linear", 12, steps=60))
    reference = methods.REFERENCES[name](references.windows_of(found))
    tests = found.tests["same"]
    errors = score.errors(found, tests, reference.rollout(tests))
    middle = {h: score.middle_and_tail(own)[0] for h, own in errors.items()}
    if "own" in name or name == "shrunk-quadratic":
        assert middle["50"] < 1e-3
    else:
        assert 0.05 < middle["1"] < middle["50"] < 5


def test_a_reference_with_a_lag_sees_past_actions_and_turns_angles() -> None:
    found = recording.record(cells.Cell("cartpole-hidden", 12))
    tests = found.tests["same"]
    own = methods.REFERENCES["own-quadratic"](references.windows_of(found)).rollout(tests)
    assert score.middle_and_tail(score.errors(found, tests, own)["1"])[0] < 0.01
    turning = recording.record(cells.Cell("angle", 12))
    windows = references.windows_of(turning)
    assert windows.inputs.shape[1] == 4  # cosine, sine, speed, torque
    assert np.abs(windows.targets[:, 0] * windows.unit[0]).max() < 1
    tests = turning.tests["same"]
    around = score.errors(turning, tests, tests.truth + np.array([2 * np.pi, 0]))
    assert max(around["50"]) == score.LEAST


def test_ratios_are_over_the_best_reference_of_each_place() -> None:
    def row(*errors: float) -> dict[str, Any]:
        by_horizon = {str(h): [e] * 3 for h, e in zip(score.HORIZONS, errors, strict=True)}
        return {"errors": dict.fromkeys(score.BEHAVIOURS, by_horizon)}

    rows = {"persim": row(1, 2, 8), "mlp": row(2, 1, 8), "persistence": row(4, 4, 4)}
    line = table.line_of(cells.Cell("prey", 30), rows)
    found = [line.ratios["same", h, "median"] for h in score.HORIZONS]
    assert found == [0.5, 2, 2]
    assert line.worse == 1.0
    assert line.best == "mlp"
    assert table.geometric_mean([line]) == pytest.approx((0.5 * 2 * 2) ** (1 / 3))
    lost = table.line_of(cells.Cell("prey", 30), rows | {"persim": {"failed": "it did not"}})
    assert lost.ratios["other", 10, "median"] == np.inf
    assert "failed" in table.text_of([lost])


@pytest.mark.slow
def test_what_is_there_is_not_fitted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["quick", "--only", "pk1", "--out", str(tmp_path), "--methods"]
    fit = ["--fit", "method=als", "degree=1", "rank=2"]
    main([*common, "persistence", "own-quadratic", "persim", *fit])
    first = capsys.readouterr()
    assert "pk1-30" in first.out
    assert "3 of 3" in first.err
    times = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.json")}
    main([*common, "persistence", "own-quadratic", "persim", *fit])
    second = capsys.readouterr()
    assert (second.out, second.err) == (first.out, "")
    main([*common, "persim", *fit, "--label", "new"])  # a new PerSim beside the same references
    assert "1 of 1" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in times} == times
    assert (tmp_path / "quick-new.csv").read_text().count("pk1-30") == 4
    assert (tmp_path / "quick-new.png").read_bytes().startswith(b"\x89PNG")
    main(["quick", "--only", "pk1", "--out", str(tmp_path), "--report", "--label", "new", *fit])
    assert capsys.readouterr().err == ""
    main([*common, "persistence", "--seed", "11"])  # other draws
    assert "1 of 1" in capsys.readouterr().err
    assert "pk1-30 seed=11" in (tmp_path / "quick-default-seed-11.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "moon"], "matches no cell"),
        (["--jobs", "0"], "at least 1"),
        (["--seed", "-1"], "must not be negative"),
        (["--fit", "degree"], "such as degree=2"),
        (["--label", "a/b"], "--label must be"),
        (["--report"], "no row of these cells"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["quick", "--out", str(tmp_path / "none"), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_boosting_of_more_agents_than_categories() -> None:
    pytest.importorskip("sklearn")
    found = recording.record(cells.Cell("growth", libraries.CATEGORIES + 10, steps=3))
    reference = libraries.Boosting(references.windows_of(found))
    assert np.isfinite(reference.rollout(found.tests["other"])).all()


def test_what_a_record_of_a_switch_allows() -> None:
    rng = np.random.default_rng(0)
    level = np.linspace(-2, 1, 40)
    change = -0.1 * 3.0 * np.maximum(0.0, level - 0.2)
    threshold, slope = limit.allowed(level, change, rng)
    np.testing.assert_allclose([threshold[0], slope[0]], [0.2, 3.0], rtol=1e-9)

    threshold, slope = limit.allowed(level[level < 0], change[level < 0], rng)
    assert len(threshold) == limit.DRAWS
    assert threshold.min() >= level[level < 0].max()

    once = level < level[level > 0.2].min() + 1e-9  # one level beyond the threshold
    threshold, slope = limit.allowed(level[once], change[once], rng)
    np.testing.assert_allclose(
        -0.1 * slope * (level[once][-1] - threshold), change[once][-1], rtol=1e-9
    )
    assert threshold.std() > 0.01


def test_the_limit_is_exact_where_a_record_shows_the_law() -> None:
    cell = recording.record(cells.Cell("switch", 10, steps=300))
    tests = cell.tests["same"]
    found = np.array(score.errors(cell, tests, limit.predictions(cell, tests))["10"])
    shown = [
        (cell.transitions.obs[cell.transitions.agent == k, 0] > cell.own["threshold"][k]).sum()
        for k in np.unique(tests.agents)
    ]
    assert (found[np.array(shown) > 20] < 1e-4).all()
    assert (np.array(shown) > 20).sum() >= 3


def test_the_default_is_compared_with_each_family_agent_by_agent() -> None:
    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(size=(2, 3, 25)))

    def row(errors: NDArray[np.float64], taken: str = "") -> dict[str, Any]:
        named = zip(score.BEHAVIOURS, errors, strict=True)
        by_horizon = {
            b: dict(zip(map(str, score.HORIZONS), e.tolist(), strict=True)) for b, e in named
        }
        return {"errors": by_horizon, "fitted_by": taken}

    ended = base.copy()
    ended[:, 2, :5] = np.nan  # no episode of these agents is that long
    scattered = base * np.exp(rng.normal(size=25))
    rows = {"als": row(2 * ended), "hierarchical": row(ended / 1.5), "latent": row(scattered)}
    line = families.line_of(cells.Cell("prey", 30), row(ended, "als"), rows)
    assert line.best == "hierarchical"
    assert line.families["als"].ratio == pytest.approx(0.5)
    assert line.families["hierarchical"].low == pytest.approx(1.5)  # the same for every agent
    assert line.families["latent"].low < line.families["latent"].ratio / 1.2
    text = families.text_of([line])
    assert "| prey-30 | als | 0.50 | 1.50 |" in text
    assert "surely above it in 1" in text
    failed = families.line_of(line.cell, row(ended, "als"), rows | {"latent": {"failed": "it did"}})
    assert list(failed.families) == ["als", "hierarchical"]


@pytest.mark.slow
def test_families_are_fitted_beside_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["quick", "--only", "pk1", "--out", str(tmp_path)]
    families.main(asked)
    out = capsys.readouterr().out
    assert "| pk1-30 |" in out
    lines = (tmp_path / "quick-families.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == list(families.FAMILIES)
    families.main([*asked, "--report"])
    assert capsys.readouterr().out == out
    with pytest.raises(SystemExit):
        families.main(["quick", "--only", "prey", "--out", str(tmp_path), "--report"])
