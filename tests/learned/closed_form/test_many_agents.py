"""More agents than are in memory together, and what many data are good for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.envs.suites import find_suite
from persim_gym.learned import PerSim
from persim_gym.learned.closed_form import fit as als
from persim_gym.learned.closed_form import heldout
from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.offline.transitions import Transitions
from tests.learned.closed_form.polynomial_worlds import LowRankWorld, open_loop
from tests.learned.worlds import transitions


@pytest.mark.parametrize("mixed", [False, True])
def test_parts_hold_each_agents_rows_in_their_order(mixed: bool) -> None:
    agent = torch.tensor([0, 0, 1, 3, 3, 3, 4])
    order = torch.tensor([3, 0, 2, 6, 4, 1, 5]) if mixed else torch.arange(7)
    agent, number = agent[order], torch.arange(7.0)[:, None]
    rows = Rows(agent, number, torch.zeros(7, dtype=torch.long), number, 6, 1)
    found: dict[int, list[float]] = {}
    for agents, part in rows.by_agents(2):
        assert part.num_agents == agents.stop - agents.start == 2
        for own, value in zip(part.agent.tolist(), part.target[:, 0].tolist(), strict=True):
            found.setdefault(agents.start + own, []).append(value)
        # Rows that stand agent by agent are not copied.
        same = part.inputs.untyped_storage().data_ptr() == number.untyped_storage().data_ptr()
        assert same != mixed
    expected = {k: number[agent == k, 0].tolist() for k in (0, 1, 3, 4)}
    assert found == expected


@pytest.mark.slow
def test_agents_beyond_memory_still_teach_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LowRankWorld(agents=240, seed=4)
    data = world.record(12, noise=0.02)
    options: dict[str, Any] = {"method": "als", "degree": 2, "rank": 3, "threshold": 0.0}

    def error() -> float:
        sim = PerSim.fit(data, task=world.task, progress=False, ensemble_size=3, **options)
        assert sim.num_agents == 240
        return float(np.median(open_loop(sim, world.law, world.task, np.arange(240))))

    whole = error()
    monkeypatch.setattr(als, "FEWEST", 1)
    monkeypatch.setattr(als, "MEMORY", als.memory(60, 3, 6))  # sixty agents' statistics
    in_parts = error()
    monkeypatch.setattr(als, "FEWEST", 240)  # all of them, whatever they take
    assert error() == pytest.approx(whole, rel=1e-3)
    monkeypatch.setattr(als, "FEWEST", 1)
    monkeypatch.setattr(als, "SWEEPS", 0)
    part_alone = error()
    assert in_parts < 1.1 * whole
    assert part_alone > 1.3 * whole


def _mountain_cars(agents: int, steps: int) -> Transitions:
    """Transitions of cars under random actions, from the true dynamics."""
    suite = find_suite("mountain-car")
    task, dynamics = suite.task(), suite.dynamics(suite.population(agents))
    rng, everyone = np.random.default_rng(0), np.arange(agents)
    state = task.sample_start(rng, agents)
    rows = []
    for _ in range(steps):
        action, obs = rng.integers(3, size=agents), state
        state = np.array(dynamics.step(everyone, state, action))
        rows.append((everyone, obs.astype(np.float32), action, state.astype(np.float32)))
    agent, obs, action, following = (
        np.stack(c, 1).reshape(agents * steps, *c[0].shape[1:]) for c in zip(*rows, strict=True)
    )
    return transitions(
        agent, obs, action, following, num_agents=agents, episode=agent, task_name=suite.name
    )


@pytest.mark.slow
def test_many_transitions_make_the_fit_finer(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _mountain_cars(900, 50)
    monkeypatch.setattr(heldout, "TRANSITIONS", 3000)

    def chosen(**options: Any) -> dict[str, Any]:
        sim = PerSim.fit(data, method="als", ensemble_size=2, progress=False, **options)
        found: dict[str, Any] = sim.card["metrics"]["chosen"]
        assert found in sim.card["metrics"]["trials"]
        return found

    finer = chosen()
    monkeypatch.setattr(als, "PLENTY", np.inf)
    plain = chosen()
    # Nineteen times as many transitions as the choice has looked at: one degree more.
    assert finer["degree"] > plain["degree"]
    assert finer["threshold"] == pytest.approx(plain["threshold"] / 18.75**0.5, rel=0.03)
    assert finer["error"] < plain["error"]
    assert finer["terms"] > plain["terms"]
    # What is given is kept.
    monkeypatch.setattr(als, "PLENTY", 1.0)
    given = chosen(degree=2, rank=2, threshold=1e-5)
    assert (given["degree"], given["threshold"]) == (2, 1e-5)
