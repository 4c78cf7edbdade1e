"""What planners unroll: particles that keep their member, a context that stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.baselines.context import ensemble as context_ensemble
from persim_gym.baselines.context.ensemble import TOGETHER, ContextEnsemble, _ContextChange
from persim_gym.baselines.context.network import ContextNetwork, ContextShape
from persim_gym.baselines.context.windows import Units
from tests.baselines.context_worlds import TASK, HiddenGain, gains, recorded
from tests.learned.worlds import PlainTask, random_walks

MEMBERS, D, HISTORY = 3, 2, 4


def ensemble(
    particles: int = 0,
    probabilistic: bool = False,
    actions: int = 0,
    context: int = 5,
    hidden: tuple[int, ...] = (7, 5),
) -> ContextEnsemble:
    """Members with random weights, continuous actions or some discrete ones."""
    task = PlainTask.of(D, actions=actions) if actions else TASK
    data = random_walks(task) if actions else recorded(HiddenGain(gains(4)), 12)
    units = Units.measure(data, task)
    shape = ContextShape(
        members=MEMBERS, obs_dim=D, inputs=D, acts=units.action.shape[1], history=HISTORY,
        context=context, encoder=(6,), hidden=hidden, probabilistic=probabilistic,
    )  # fmt: skip
    vector = ContextNetwork.initial(shape, torch.Generator().manual_seed(3)) * 2
    low = torch.full((D,), -np.inf)
    network = ContextNetwork.views(shape, vector)
    return ContextEnsemble(network, units, low, -low, 4, actions, particles)


def inputs(model: ContextEnsemble, p: int, k: int, h: int, seed: int = 0) -> tuple[Any, ...]:
    """Agents, states and actions of ``k`` sequences from ``p`` states."""
    g = torch.Generator().manual_seed(seed)
    states = torch.randn(p, model.lag * (model.past + D), generator=g)
    if model.choices:
        actions = torch.randint(model.choices, (p, k, h), generator=g)
    else:
        actions = 2 * torch.rand(p, k, h, 1, generator=g) - 1
    return torch.zeros(p, dtype=torch.long), states, actions


def frozen_steps(model: ContextEnsemble, states: Any, actions: Any, members: Any) -> Any:
    """Means ``[particles, p, k, h, d]``, one row after the other, the context made once."""
    units, net = model.units, model.network
    p, k, h = actions.shape[:3]
    contexts = model.context(states)
    found = torch.zeros(len(members), p, k, h, D)
    for i, member in enumerate(members):
        for row in range(p):
            for j in range(k):
                obs = states[row, -D:]
                for t in range(h):
                    a = actions[row, j, t]
                    coded = (
                        torch.arange(1, model.choices) == a if model.choices else a.view(-1)
                    ).float()
                    seen = [units.seen(obs), units.acted(coded)]
                    if contexts is not None:
                        seen.append(contexts[member, row])
                    x = torch.cat(seen).expand(MEMBERS, 1, -1)
                    obs = units.following(obs, net.forward(x)[0][member, 0])
                    found[i, row, j, t] = obs
    return found


@pytest.mark.parametrize("actions", [0, 3])
@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize("hidden", [(), (7, 5)])
def test_unrolling_keeps_the_context_and_each_member_its_own_states(
    actions: int, context: int, hidden: tuple[int, ...]
) -> None:
    model = ensemble(actions=actions, context=context, hidden=hidden)
    agents, states, acted = inputs(model, p=2, k=3, h=4)
    found = torch.stack([*model.unroll(agents, states, acted)], dim=3)
    expected = frozen_steps(model, states, acted, range(MEMBERS))
    assert torch.allclose(found, expected, atol=1e-5)
    first = model.step(agents, states, acted[:, 0, 0])
    assert torch.allclose(first, expected[:, :, 0, 0], atol=1e-5)


def test_a_step_makes_the_context_of_its_own_past() -> None:
    model = ensemble()
    agents, states, acted = inputs(model, p=2, k=1, h=1)
    other = states.clone()
    other[:, :D] += 1.0  # an observation of the past
    assert not torch.allclose(
        model.step(agents, states, acted[:, 0, 0]), model.step(agents, other, acted[:, 0, 0])
    )


def test_particles_keep_their_member() -> None:
    """Without a variance to speak of, particles of one member are that member, to the end."""
    model = ensemble(particles=6, probabilistic=True)
    for name in ("most_log_variance", "least_log_variance"):
        model.network.tensors[name].fill_(-60.0)
    agents, states, acted = inputs(model, p=2, k=3, h=6)
    found = torch.stack([*model.unroll(agents, states, acted)], dim=3)
    assert found.shape == (6, 2, 3, 6, D)
    expected = frozen_steps(model, states, acted, [0, 0, 1, 1, 2, 2])
    assert torch.allclose(found, expected, atol=1e-4)
    assert float((expected[0] - expected[2]).abs().max()) > 0.01


@pytest.mark.parametrize("hidden", [(), (7, 5)])
def test_particles_have_noise_of_the_predicted_variance(hidden: tuple[int, ...]) -> None:
    model = ensemble(particles=MEMBERS * 2000, probabilistic=True, hidden=hidden)
    model.network.tensors["least_log_variance"].fill_(-8.0)
    model.network.tensors["most_log_variance"].fill_(-4.0)
    agents, states, acted = inputs(model, p=1, k=1, h=1)
    found = next(model.unroll(agents, states, acted))[:, 0, 0].view(MEMBERS, 2000, D)
    context = model.context(states)
    assert context is not None
    units = model.units
    rows = [units.seen(states[:, -D:]), units.acted(acted[:, 0, 0])]
    seen = torch.cat([*(r.expand(MEMBERS, 1, -1) for r in rows), context], dim=-1)
    mean, log_variance = model.network.forward(seen)
    assert log_variance is not None
    sd = (0.5 * log_variance[:, 0]).exp() * units.change[1]
    assert torch.allclose(found.std(dim=1), sd, rtol=0.1)
    expected = units.following(states[:, -D:], mean[:, 0])
    assert bool(((found.mean(dim=1) - expected).abs() < 4 * sd / 2000**0.5).all())
    again = next(model.unroll(agents, states, acted))
    assert torch.equal(again[:, 0, 0].view_as(found), found)


def test_candidates_that_go_on_are_those_that_were_sent_back() -> None:
    model = ensemble(particles=6)
    agents, states, acted = inputs(model, p=2, k=4, h=3)
    kept = torch.tensor([[0, 2], [3, 1]])
    steps = model.unroll(agents, states, acted)
    next(steps)
    found = steps.send(kept)
    whole = [*model.unroll(agents, states, acted)][1]
    index = kept[None, :, :, None].expand(6, -1, -1, D)
    assert torch.allclose(found, whole.gather(2, index), atol=1e-6)


@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize(("particles", "mode"), [(0, "members"), (6, "members"), (0, "mean")])
def test_candidates_that_have_been_alike_are_predicted_once(
    particles: int, mode: Any, context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, k = 2 * TOGETHER + 3, 8
    model = ensemble(particles=particles, probabilistic=True, actions=3, context=context)
    agents, states, acted = inputs(model, p=3, k=k, h=h)
    g = torch.Generator().manual_seed(1)
    for row in range(3):  # sequences part in different steps, each from the one before it
        for j in range(1, k):
            parts = int(torch.randint(h, (), generator=g))
            acted[row, j, :parts] = acted[row, j - 1, :parts]
    kept = torch.tensor([[6, 0, 4, 5], [1, 2, 3, 7], [7, 6, 5, 4]])
    rows, predict = [], _ContextChange._of

    def seen(self: Any, states: Any, *rest: Any) -> Any:
        rows.append(states.shape[1] * states.shape[3])
        return predict(self, states, *rest)

    def unrolled() -> Any:
        steps = model.unroll(agents, states, acted, mode)
        found = [next(steps) for _ in range(TOGETHER + 2)]
        found.append(steps.send(kept))
        return [*found, *steps]

    monkeypatch.setattr(_ContextChange, "_of", seen)
    together = unrolled()
    assert rows[0] < 3 * k
    assert rows == sorted(rows[: TOGETHER + 2]) + sorted(rows[TOGETHER + 2 :])
    monkeypatch.setattr(context_ensemble, "WORTH_JOINING", 0.0)
    alone = unrolled()
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_candidates_that_are_not_alike_are_not_compared_in_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ensemble(actions=3)
    calls, alike = [], context_ensemble._alike
    monkeypatch.setattr(context_ensemble, "WORTH_JOINING", 0.0)
    monkeypatch.setattr(context_ensemble, "_alike", lambda p: (calls.append(1), alike(p))[1])
    assert len([*model.unroll(*inputs(model, p=1, k=3, h=3 * TOGETHER))]) == 3 * TOGETHER
    assert len(calls) == 3


def test_all_go_on_from_their_mean_without_noise() -> None:
    model = ensemble(particles=6, probabilistic=True)
    agents, states, acted = inputs(model, p=2, k=3, h=1)
    found = next(model.unroll(agents, states, acted, "mean"))
    assert torch.allclose(found[:, :, 0], model.step(agents, states, acted[:, 0, 0]), atol=1e-5)


def test_it_knows_no_factors() -> None:
    model = ensemble()
    for call in (model.agent_factors, model.offset):
        with pytest.raises(TypeError, match="past alone"):
            call()
