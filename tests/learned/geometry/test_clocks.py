"""Clocks are found through noise, and what is set back is not taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.geometry.geometry import TURN, Angle, Faster, Geometry
from persim_gym.learned.geometry.search import find_geometry
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, transitions

Floats = NDArray[np.float64]
AGENTS, STEPS = 8, 120


def table(columns: Floats, actions: NDArray[Any] | None = None, **options: Any) -> Transitions:
    """Episodes ``[n, T + 1, d]`` of an agent each; actions ``[n, T]`` are discrete if whole."""
    n, steps = columns.shape[0], columns.shape[1] - 1
    agent = np.repeat(np.arange(n), steps)
    acted = np.zeros((n, steps)) if actions is None else actions
    acted = acted.reshape(-1) if acted.dtype.kind == "i" else acted.reshape(-1, 1)
    flat = (columns[:, :-1].reshape(n * steps, -1), columns[:, 1:].reshape(n * steps, -1))
    data = transitions(agent, flat[0], acted, flat[1])
    fields = {f: getattr(data, f) for f in data.__dataclass_fields__}
    return Transitions(**fields | {"episode": agent} | options)


def column_of(values: Floats, **options: Any) -> Transitions:
    """One column ``[n, T + 1]``."""
    return table(values[..., None], **options)


def hours(
    tick: Any = 1.0, turn: float = 24.0, least: float = 0.0, steps: int = STEPS, whole: bool = True
) -> Floats:
    """Clocks ``[n, T + 1]`` that begin anywhere; ticks are one, one an agent, or one a step."""
    rng = np.random.default_rng(5)
    ticks = np.broadcast_to(np.asarray(tick, dtype=np.float64), (AGENTS, steps))
    start = rng.uniform(0, turn, (AGENTS, 1))
    start = np.round(start / ticks[:, :1]) * ticks[:, :1] if whole else start
    run = np.concatenate([start, start + np.cumsum(ticks, axis=1)], axis=1)
    return np.asarray(least + np.remainder(run, turn))


def noisy(values: Floats, share: float) -> Floats:
    """The same with noise of a share of its standard deviation, which may leave the range."""
    rng = np.random.default_rng(6)
    return np.asarray(values + share * values.std() * rng.standard_normal(values.shape))


#: Values, full turn, and whether their range begins at a known value.
CLOCKS: dict[str, tuple[Floats, float, float | None]] = {
    "an hour": (hours(), 24.0, -0.5),
    "a weekday": (hours(turn=7.0), 7.0, -0.5),
    "the day of a year": (hours(turn=365.0, least=1.0, steps=1200), 365.0, 0.5),
    "a month": (hours(turn=12.0, least=1.0), 12.0, 0.5),
    "a countdown": (hours(-1.0, 60.0), 60.0, -0.5),
    "degrees": (hours(7.3, 360.0, -180.0, whole=False), 360.0, -180.0),
    "a share of the day": (hours(1 / 48, 1.0, whole=False), 1.0, 0.0),
    "an own pace": (hours(np.linspace(0.4, 2.2, AGENTS)[:, None], whole=False), 24.0, 0.0),
    "quarters of an hour": (np.round(hours(0.7, whole=False) * 4) / 4 % 24, 24.0, -0.125),
    "few rounds": (hours(turn=24.0, steps=20), 24.0, -0.5),
}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_is_found_through_noise(name: str, share: float) -> None:
    values, turn, least = CLOCKS[name]
    found = find_geometry(column_of(noisy(values, share)))
    assert [a.column for a in found.angles] == [0]
    angle = found.angles[0]
    size = share * values.std()
    assert angle.period == pytest.approx(turn, abs=0.1 * size + 1e-6 * turn)
    assert angle.low is not None
    tick = float(np.median(np.abs(np.diff(values))))
    assert angle.low == pytest.approx(least, abs=0.5 * size + 0.3 * tick)
    # A step of the clock is the same everywhere, and brings no value out of its range.
    clean = column_of(values)
    before, after = torch.as_tensor(clean.obs), torch.as_tensor(clean.next_obs)
    change = found.difference(before, after)
    assert change.abs().max() < 0.3 * TURN
    back = found.outward(found.inward(after))
    share_moved = (back - after).abs().gt(0.5 * turn).float().mean()
    assert share_moved <= (0.0 if share == 0.0 else 0.01)


def test_ticks_may_be_uneven() -> None:
    ticks = np.random.default_rng(7).uniform(0.5, 2.0, (AGENTS, STEPS))
    values = hours(ticks, whole=False)
    for seen in (values, np.round(values * 4) / 4 % 24):
        (angle,) = find_geometry(column_of(seen)).angles
        assert angle.period == pytest.approx(24.0, rel=5e-3)


CALENDARS = {
    "a weekday without its hour": (np.arange(600)[None] // 24 % 7, (7.0,)),
    "a weekday of less than three weeks": (np.arange(400)[None] // 24 % 7, ()),
    "the days of months": (
        np.concatenate([np.arange(days) for days in (31, 28, 31, 30, 31, 30, 31) * 2])[None] + 1,
        (31.0,),
    ),
    "a year with a leap day": (
        np.concatenate([np.arange(days) for days in (365, 365, 365, 366)] * 3)[None] + 1,
        (365.0, 366.0),
    ),
    "summer time": ((np.arange(400) + (np.arange(400) > 200))[None] % 24, (24.0,)),
}


@pytest.mark.parametrize("name", CALENDARS)
def test_uneven_calendars(name: str) -> None:
    values, turns = CALENDARS[name]
    found = find_geometry(column_of(values.astype(float))).angles
    assert len(found) == min(1, len(turns))
    assert all(a.period in turns for a in found)


def test_noise_on_the_circle_wraps_back_and_forth() -> None:
    values = hours(0.05, whole=False, steps=960)
    rng = np.random.default_rng(7)
    seen = np.remainder(values + 0.2 * rng.standard_normal(values.shape), 24.0)
    (angle,) = find_geometry(column_of(seen)).angles
    assert angle.period == pytest.approx(24.0, rel=2e-3)
    assert angle.low == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_one_jump_is_enough_for_a_common_clock(share: float) -> None:
    day = noisy(hours(steps=STEPS)[:1, :30], share)
    (angle,) = find_geometry(column_of(day)).angles
    assert angle.period == 24.0


def test_a_declared_clock_with_noise_keeps_its_range() -> None:
    seen = column_of(noisy(hours(steps=30)[:1], 0.05), angles=((0, 24.0),))
    (angle,) = find_geometry(seen).angles
    assert angle == Angle(0, 24.0, pytest.approx(-0.5, abs=0.6))


def _set_back(level: Floats, when: Any, to: float | Floats = 0.0) -> Floats:
    """Levels that grow ``[n, T]`` by steps, and are set back where ``when`` says so."""
    values = np.zeros((len(level), level.shape[1] + 1))
    values[:, 0] = np.random.default_rng(8).uniform(0, 5, len(level))
    for t in range(level.shape[1]):
        grown = values[:, t] + level[:, t]
        due = when(grown, t)
        goal = to if np.isscalar(to) else np.asarray(to)[:, t]
        values[:, t + 1] = np.where(due, goal, grown)
    return values


def _no_clocks() -> dict[str, tuple[Floats, Floats | None]]:
    shape, rng = (AGENTS, STEPS), np.random.default_rng(9)
    ones, varied = np.ones(shape), rng.uniform(0.5, 1.5, shape)
    anytime = rng.random(shape) < 0.06
    walk = 0.3 * rng.standard_normal(shape) + 0.5
    acted = (rng.random(shape) < 0.06).astype(float)
    by_rule = _set_back(ones, lambda x, t: x >= 24)
    return {
        "emptied at any time": (_set_back(ones, lambda x, t: anytime[:, t]), None),
        "a battery that is charged": (50 - _set_back(varied, lambda x, t: anytime[:, t]), None),
        "a tank emptied when it is full": (_set_back(varied, lambda x, t: x > 12), None),
        "a walk with resets": (_set_back(walk, lambda x, t: np.abs(x) > 6), None),
        "reset by an action": (_set_back(ones, lambda x, t: acted[:, t] > 0), acted),
        "reset by an action when it is full": (
            by_rule,
            (by_rule[:, 1:] < by_rule[:, :-1]).astype(float),
        ),
        "reset to anywhere": (
            _set_back(ones, lambda x, t: x > 20, rng.uniform(0, 9, shape)),
            None,
        ),
        "constant": (np.full((AGENTS, STEPS + 1), 7.0), None),
        "a counter of the episode": (np.tile(np.arange(STEPS + 1.0), (AGENTS, 1)), None),
        "two values": (np.tile(np.arange(STEPS + 1) % 2.0, (AGENTS, 1)), None),
        "a swing": (np.sin(0.3 * np.arange(STEPS + 1) + np.arange(AGENTS)[:, None]), None),
        "spikes": (np.where(rng.random((AGENTS, STEPS + 1)) < 0.05, 9.0, 0.0), None),
        "once, at an uncommon turn": (np.arange(74.0)[None] % 37, None),
        "flags that go up once": ((np.arange(9) >= np.arange(3, 7)[:, None]) * 1.0, None),
        "a toggle that nothing moves": (
            np.arange(9.0)[None] % 2,
            np.array([[0, 1, 1, 0, 1, 0, 0, 1]]),
        ),
    }


NO_CLOCKS = _no_clocks()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("name", NO_CLOCKS)
def test_what_is_set_back_is_no_clock(name: str, share: float) -> None:
    values, actions = NO_CLOCKS[name]
    assert find_geometry(table(noisy(values, share)[..., None], actions)) == Geometry(1)


def _spoilt(shift: float) -> Transitions:
    """A walk whose rows are spoilt now and then, and jump while they are."""
    rng = np.random.default_rng(10)
    walk = np.cumsum(0.1 * rng.standard_normal((AGENTS, 31)) + 0.03, axis=1)
    t = column_of(walk * np.sign(shift))
    rows = np.flatnonzero(t.step % 10 == 0)
    obs, following = t.obs.copy(), t.next_obs.copy()
    obs[rows] += shift
    following[rows] -= 10 * shift
    return replace(t, obs=obs, next_obs=following, changes=None)


@pytest.mark.parametrize("shift", [10.0, 1e3, -1e3])
def test_spoilt_rows_make_no_clock(shift: float) -> None:
    assert find_geometry(_spoilt(shift)) == Geometry(1)


@pytest.mark.parametrize("turn", [7, 24, 365])
@pytest.mark.parametrize("discrete", [True, False])
def test_an_action_at_the_last_hour_is_no_reset(turn: int, discrete: bool) -> None:
    run = np.arange(6 * turn) + np.arange(4)[:, None]
    due = (run[:, :-1] % turn == turn - 1) * 1
    acted = due if discrete else due * np.random.default_rng(11).uniform(1, 2, due.shape)
    (angle,) = find_geometry(table((run % turn)[..., None].astype(float), acted)).angles
    assert angle == Angle(0, float(turn), -0.5)


@pytest.mark.parametrize("turn", [23, 24])
def test_an_action_sets_back_what_is_not_quite_even(turn: int) -> None:
    run = np.arange(6 * turn) + np.arange(4)[:, None]
    due = (run[:, :-1] % turn == turn - 1) * 1
    values = run % turn + (0.3 * (run < turn) if turn == 24 else 0.0)
    assert find_geometry(table(values[..., None], due)) == Geometry(1)


@pytest.mark.parametrize("seed", range(8))
def test_an_hour_that_is_skipped_now_and_then(seed: int) -> None:
    rng = np.random.default_rng(seed)
    run = np.arange(401) + np.cumsum(rng.random(401) < 0.01)
    seen = run % 24 + 0.15 * rng.standard_normal(401)
    angles = find_geometry(column_of(seen[None])).angles
    assert all(a.period == pytest.approx(24.0, abs=0.1) for a in angles)


def _any_column(rng: np.random.Generator, n: int, steps: int) -> Floats:
    """A column ``[n, T + 1]`` of any kind."""
    shape = (n, steps + 1)
    run = np.arange(steps + 1) + rng.integers(0, 9, (n, 1))
    uneven = np.cumsum(rng.integers(0, 3, shape), axis=1)
    few = int(rng.integers(2, 8))
    scale = 10.0 ** rng.integers(-30, 38)
    kinds = (
        np.full(shape, scale),
        run % 2,
        np.broadcast_to(np.arange(steps + 1), shape),
        run >= rng.integers(0, steps + 9, (n, 1)),
        run % few,
        -uneven % few,
        rng.integers(0, few, shape),
        run % few + 0.15 * rng.standard_normal(shape),
        uneven % 24 + 1e6,
        scale * (rng.random(shape) < 0.3),
        scale * rng.uniform(-1, 1, shape),
        rng.standard_normal(shape),
    )
    return np.asarray(kinds[rng.integers(len(kinds))], dtype=np.float64)


@pytest.mark.parametrize("part", range(4))
def test_any_table_is_searched(part: int) -> None:
    for seed in range(50 * part, 50 * (part + 1)):
        rng = np.random.default_rng(seed)
        n, steps = (int(v) for v in rng.integers(1, (5, 31)))
        columns = [_any_column(rng, n, steps) for _ in range(rng.integers(1, 4))]
        whole = rng.integers(0, rng.integers(1, 4), (n, steps))
        actions = whole if rng.random() < 0.5 else rng.standard_normal((n, steps))
        declared = ((0, float(rng.choice([7.0, 24.0, TURN]))),) if rng.random() < 0.2 else ()
        found = find_geometry(table(np.stack(columns, axis=2), actions, angles=declared))
        assert all(0 < a.period < np.inf for a in found.angles), seed


def calendar(steps: int = 24 * 80) -> Floats:
    """Minutes (each 15), hours and weekdays, as a table has them ``[n, T + 1, 3]``."""
    begin = np.random.default_rng(3).integers(0, 96 * 7, (5, 1))
    quarter = begin + np.arange(steps + 1)
    return np.stack([15.0 * (quarter % 4), quarter // 4 % 24, quarter // 96 % 7], axis=2)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
def test_a_weekday_counts_the_hours_rounds(share: float) -> None:
    clean = calendar()[:, ::4, 1:]
    seen = np.stack([noisy(clean[..., k], share) for k in (0, 1)], axis=2)
    found = find_geometry(table(seen))
    hour, day = found.angles
    assert (hour.column, hour.counts, hour.period) == (0, None, 24.0)
    assert (day.column, day.period) == (1, 7.0)
    assert day.counts is not None
    assert day.counts.column == 0
    # All that comes of an even step is what the calendar says, at the ends of days and weeks, too.
    t = table(clean)
    before, after = torch.as_tensor(t.obs), torch.as_tensor(t.next_obs)
    step = torch.tensor([TURN / 24, TURN / 7 / 24])
    torch.testing.assert_close(found.outward(found.inward(before) + step), after, atol=1e-4, rtol=0)
    even = found.difference(before, after)
    torch.testing.assert_close(even, step.double().expand_as(even), atol=1e-5, rtol=0)


def test_clocks_count_clocks_that_count() -> None:
    data = table(calendar())
    found = find_geometry(data)
    assert [a.counts and a.counts.column for a in found.angles] == [None, 0, 1]
    assert [a.period for a in found.angles] == [60.0, 24.0, 7.0]
    before, after = torch.as_tensor(data.obs), torch.as_tensor(data.next_obs)
    step = torch.tensor([TURN / 4, TURN / 96, TURN / 96 / 7])
    torch.testing.assert_close(found.outward(found.inward(before) + step), after, atol=1e-4, rtol=0)
    assert Geometry.from_json(found.to_json()) == found


def test_a_count_is_of_another_clock() -> None:
    loop = (Angle(0, 7.0, 0.0, Faster(1, 7.0, 0.0)), Angle(1, 7.0, 0.0, Faster(0, 7.0, 0.0)))
    for angles in (loop, (Angle(0, 7.0, 0.0, Faster(1, 7.0, 0.0)),), (*loop[:1], Angle(1))):
        with pytest.raises(ValueError, match="column 0 counts rounds of a column"):
            Geometry(2, angles=angles)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_two_clocks_of_one_time_are_both_found(share: float) -> None:
    run = np.arange(500.0) + np.array([[3.0], [90.0], [200.0]])
    seen = np.stack([noisy(run % 24, share), noisy(run / 24 % 7, share)], axis=2)
    assert [round(a.period, 1) for a in find_geometry(table(seen)).angles] == [24.0, 7.0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["als", "hierarchical"])
def test_a_fitted_calendar_goes_on(method: str, tmp_path: Path) -> None:
    """Predicted, stepped in an environment, exported and written as an equation."""
    n, steps = 4, 24 * 14
    rng = np.random.default_rng(4)
    quarters = calendar(4 * (steps + 12))[:n, ::4, 1:]
    action = rng.uniform(-1, 1, (n, steps + 12))
    level = np.zeros((n, steps + 13))
    for t in range(steps + 12):
        level[:, t + 1] = 0.8 * level[:, t] + action[:, t] + np.cos(TURN / 24 * quarters[:, t, 0])
    obs = np.concatenate([quarters, level[..., None]], axis=2)
    data = table(obs[:, : steps + 1], action[:, :steps])
    options = {"method": method, "degree": 1, "ensemble_size": 1, "progress": False}
    sim = PerSim.fit(data, task=PlainTask.of(3, action_dim=1), **options)
    agents, start, plan = np.arange(n), obs[:, steps], action[:, steps:, None]
    ahead = np.asarray(sim.rollout(agents, start, plan)).mean(0)
    np.testing.assert_allclose(ahead, obs[:, steps + 1 :], atol=0.02)
    env = sim.env(agent=1)
    env.reset(seed=0, options={"state": start[1]})
    for t in range(12):
        stepped = env.step(plan[1, t].astype(np.float32))[0]
        np.testing.assert_allclose(stepped, ahead[1, t], atol=1e-3)
    equations = sim.equations(1)
    got = equations.lambdify()(*obs[1, :60].T, action[1, :60])
    expected = sim.predict(1, obs[1, :60], action[1, :60, None])
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert "the angle of x1 and the share of x0 with a period of 7" in str(equations)
    if method == "als":
        assert sim.export(tmp_path / "step.py").exists()
    sim.save(tmp_path / "kept")
    kept = PerSim.load(tmp_path / "kept", task=sim.task)
    again = kept.rollout(agents, start, plan)
    np.testing.assert_array_equal(np.asarray(again).mean(0), ahead)


def test_the_first_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    hour, level = hours(), np.tile(np.arange(STEPS + 1.0) % 24, (AGENTS, 1))
    level[-1] = 2 * np.arange(STEPS + 1.0)  # only the first episodes are like a clock
    data = table(np.stack([hour, level], axis=2))
    for rows in (3 * STEPS + 7, STEPS, STEPS // 2):
        monkeypatch.setattr("persim_gym.learned.geometry.clocks.ROWS", rows)
        assert find_geometry(data).angles == (Angle(0, 24.0, -0.5),)
