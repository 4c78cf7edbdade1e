from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.ensemble import UNROLL_MODES
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.fitting import fit
from persim_gym.learned.fitting.families import Fitted
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.uncertainty.noise import estimate_noise
from tests.learned.features.frames import CONTINUOUS, DISCRETE, Bend, data_of, made
from tests.learned.worlds import PlainTask


def mixed(task: PlainTask, lags: tuple[int, int] = (1, 3)) -> MixtureEnsemble:
    parts = [made(task, lag)[1] for lag in lags]
    frame, limits = parts[1].frame, parts[1].limits
    parts[1] = FrameEnsemble(frame, Bend.drawn(frame, members=2), *limits)
    return MixtureEnsemble(parts, (2, 1))


@pytest.mark.parametrize("lags", [(1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_members_are_those_of_the_parts(task: PlainTask, lags: tuple[int, int]) -> None:
    mixture = mixed(task, lags)
    assert (mixture.members, mixture.lag) == (8, max(lags))
    data = data_of(task)
    t = data.transitions
    rows = np.flatnonzero(t.step == 10)
    frames = [part.frame for part in mixture.parts]  # type: ignore[attr-defined]
    whole = max(frames, key=lambda frame: frame.lag)
    states = whole.states(data)[rows].double()
    each = [frame.states(data)[rows].double() for frame in frames]
    agents = torch.as_tensor(t.agent[rows])
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 3, (4, 6, 9)) if task is DISCRETE else rng.uniform(-1, 1, (4, 6, 9, 2))
    actions = torch.as_tensor(drawn)
    one = actions[:, 0, 0]
    first, second = (p.step(agents, s, one) for p, s in zip(mixture.parts, each, strict=True))
    expected = torch.cat([first, first, second])
    assert torch.equal(mixture.step(agents, states, one), expected)
    apart = states.expand(8, -1, -1)
    assert torch.allclose(mixture.step(agents, apart, one), expected)
    unrolled = {
        mode: torch.stack(list(mixture.unroll(agents, states, actions, mode)))
        for mode in UNROLL_MODES
    }
    own = [
        torch.stack(list(p.unroll(agents, s, actions)))
        for p, s in zip(mixture.parts, each, strict=True)
    ]
    members = torch.cat([own[0], own[0], own[1]], 1)
    assert torch.equal(unrolled["members"], members)
    columns = torch.arange(6)
    assert torch.equal(
        unrolled["sampled"][:, 0], members[:, columns, :, columns].permute(1, 2, 0, 3)
    )
    settled = mixture.settle(mixture.step(agents, states, one))
    assert torch.allclose(unrolled["mean"][0, :, :, 0], settled)
    circle = unrolled["mean"][..., [1, 3]].square().sum(-1)
    assert torch.allclose(circle, torch.ones_like(circle))
    kept = torch.tensor([[5, 1]] * 4)
    for mode, every in unrolled.items():
        steps = mixture.unroll(agents, states, actions, mode)
        next(steps)
        rest = torch.stack([steps.send(kept), *steps])
        assert torch.allclose(rest, every[1:, :, :, [5, 1]], atol=1e-12), mode


@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_a_mixture_is_as_its_parts_are(task: PlainTask) -> None:
    """What an ensemble is by default is not what a mixture of others is."""
    part = made(task, 1)[1]
    mixture = MixtureEnsemble([part], [1])
    for name in ("turning", "linear", "lag", "past", "obs_dim", "num_agents", "rank", "widths"):
        assert getattr(mixture, name) == getattr(part, name), name
    data = data_of(task)
    assert part.turning  # its changes are fewer than its observations
    noises = [estimate_noise(ensemble, data, 0) for ensemble in (part, mixture)]
    assert noises[0] is not None
    assert noises[1] is not None
    np.testing.assert_allclose(noises[1].process, noises[0].process)


def test_the_mean_of_members_is_convex() -> None:
    mixture = mixed(DISCRETE)
    weights = np.bincount(mixture._index, minlength=5)
    assert weights.tolist() == [2, 2, 2, 1, 1]  # 6 of 8, and 2 of 8
    factors = mixture.agent_factors()
    assert factors.shape == (8, 4, 4)
    same = mixture.with_factors(factors[:, [2, 0]])
    assert torch.equal(same.agent_factors(), factors[:, [2, 0]])
    assert (same.num_agents, mixture.linear) == (2, False)


def test_a_mixture_is_saved_whole(tmp_path: Path) -> None:
    mixture = mixed(DISCRETE).to("cpu", torch.float32)
    data = data_of(DISCRETE)
    card: dict[str, Any] = {"task": "plain", "fitted_by": "hand", "agent_names": None}
    sim = PerSim(mixture, DISCRETE, data.experience(3, mixture.past), card)
    sim.save(tmp_path)
    again = PerSim.load(tmp_path, task=DISCRETE)
    obs, actions = data.transitions.obs[:3], np.ones((3, 5), dtype=int)
    found = [s.rollout([0, 1, 2], obs, actions) for s in (sim, again)]
    assert np.array_equal(*found)
    assert np.allclose(sim.predict([0, 1, 2], obs, actions[:, 0]), found[0][:, :, 0].mean(0))


def test_parts_that_do_not_fit_together_are_refused() -> None:
    one = made(DISCRETE, 1)[1]
    other = one.with_factors(one.agent_factors()[:, :2])
    for parts, times, message in (
        ([], [], "0 ensembles"),
        ([one], [0], r"times \[0\]"),
        ([one, one], [1], r"2 ensembles and times \[1\]"),
        ([one, other], [1, 1], "same agents"),
    ):
        with pytest.raises(ValueError, match=message):
            MixtureEnsemble(parts, times)


def test_its_card_says_what_was_found_of_angles() -> None:
    parts = mixed(CONTINUOUS).parts
    known = {"geometry": {"obs_dim": 2}}
    each = {
        name: Fitted(name, part, {"seconds": 1.0, **own})  # type: ignore[arg-type]
        for name, part, own in zip(("als", "latent"), parts, ({}, known), strict=True)
    }
    metrics = fit._joined(each, {"als": 0.5, "latent": 0.5}).metrics
    assert (metrics["geometry"], metrics["seconds"]) == (known["geometry"], 2.0)
    assert metrics["parts"] == {"als": {}, "latent": known}
