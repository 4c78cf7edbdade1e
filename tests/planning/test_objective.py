"""The objective against a loop over single steps, in every kind of dynamics."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import persim_gym.planning.objective as objective_module
from persim_gym.core import Dynamics, Task
from persim_gym.envs import find_suite
from persim_gym.learned import PerSim
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.networks.network import LowRankNetwork
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.learned.outcomes.given_reward import rewarded
from persim_gym.planning import Objective, Shaping
from persim_gym.planning.objective import CHECK_EVERY, _reward_range
from tests.learned.worlds import PlainTask, random_simulator, transitions
from tests.planning.worlds import ActionTask, Line, LineTask, Members, Memory, scalar_returns


def problems(
    task: Task, num_agents: int, p: int, k: int, h: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Agents ``[p]``, start states ``[p, d]`` and action sequences ``[p, k, h(, a)]``."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    agents = torch.as_tensor(rng.integers(num_agents, size=p))
    states = torch.as_tensor(task.sample_start(rng, p).astype(np.float32))
    if task.action_space.shape:
        actions = torch.rand((p, k, h, *task.action_space.shape), generator=generator) * 2 - 1
    else:
        actions = torch.randint(task.action_space.n, (p, k, h), generator=generator)  # type: ignore[union-attr]
    return agents, states, actions


def sequences(*rows: str) -> torch.Tensor:
    """Action sequences of one problem, written as digits: ``[1, k, h]``."""
    return torch.tensor([[[int(c) for c in row] for row in rows]])


def line_returns(objective: Objective, x: float, *rows: str, agent: int = 0) -> list[float]:
    return objective(torch.tensor([agent]), torch.tensor([[x]]), sequences(*rows))[0].tolist()


# -- one reference for all -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mountain-car", "cartpole", "half-cheetah"])
def test_true_physics(name: str) -> None:
    suite = find_suite(name)
    task, dynamics = suite.task(), suite.dynamics(suite.population())
    h = 4 if name == "half-cheetah" else 40
    agents, states, actions = problems(task, 5, p=3, k=5, h=h)
    if name == "mountain-car":  # from shortly before the goal, so that some reach it
        states = torch.tensor([[0.4, 0.02], [0.45, 0.0], [0.3, 0.03]])
    returns = Objective(task, dynamics)(agents, states, actions)
    assert returns.shape == (3, 5)
    expected = scalar_returns(task, dynamics, agents.numpy(), states.numpy(), actions.numpy())
    # Actions of HalfCheetah are in single precision, and so is their cost.
    exact = 1e-6 if name == "half-cheetah" else 1e-9
    np.testing.assert_allclose(returns, expected, rtol=exact, atol=exact)
    if name != "half-cheetah":
        lengths = np.abs(expected)
        assert lengths.min() < h, "no sequence has ended before its time"
        assert len(np.unique(lengths)) > 3


TASKS = {
    "discrete": PlainTask.of(2, actions=3),
    "bounded": PlainTask.of(2, actions=3, low=-0.8),
    "continuous": PlainTask.of(3, action_dim=2),
}


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_simulator(task: PlainTask, lag: int) -> None:
    """Members one by one: each member alone is a dynamics for the loop, the return is the mean."""
    sim = random_simulator(task, lag=lag, size=1.0)
    agents, states, actions = problems(task, 4, p=3, k=4, h=6)
    if lag > 1:
        states = torch.stack([states * 0.5, states], dim=1)
    returns = Objective(task, sim)(agents, states, actions)

    class Member:
        num_agents = 4

        def __init__(self, member: int) -> None:
            self.lag, self.member = lag, member

        def step(self, agents: Any, states: Any, actions: Any) -> Any:
            return sim.predict_members(agents, states, actions)[self.member].astype(np.float64)

    expected = np.mean(
        [
            scalar_returns(task, Member(i), agents.numpy(), states.numpy(), actions)
            for i in range(3)
        ],
        axis=0,
    )
    np.testing.assert_allclose(returns, expected, rtol=1e-4, atol=1e-4)
    assert returns.std() > 0.1

    class Mean(Member):
        def step(self, agents: Any, states: Any, actions: Any) -> Any:
            return sim.predict(agents, states, actions).astype(np.float64)

    # With the mean followed, rewards are still each member's own: their spread remains.
    by_mean = Objective(task, sim, "mean")(agents, states, actions)
    rough = scalar_returns(task, Mean(0), agents.numpy(), states.numpy(), actions)
    assert not np.allclose(by_mean, expected, rtol=1e-3)
    assert np.corrcoef(by_mean.numpy().ravel(), rough.ravel())[0, 1] > 0.9


def test_a_lag_without_an_unrolling_of_its_own() -> None:
    task = PlainTask.of(2, actions=3)
    agents, _, actions = problems(task, 3, p=4, k=5, h=7)
    states = torch.as_tensor(np.random.default_rng(1).uniform(-1, 1, (4, 2, 2)))
    returns = Objective(task, Memory())(agents, states, actions)
    expected = scalar_returns(task, Memory(), agents.numpy(), states.numpy(), actions)
    np.testing.assert_allclose(returns, expected, rtol=1e-12)
    still = states.clone()
    still[:, 0] = still[:, 1]
    assert not np.allclose(Objective(task, Memory())(agents, still, actions), expected)


def test_rewards_may_depend_on_where_a_step_began() -> None:
    class Climb(LineTask):
        """Worth the square of the state left, and a tenth of the action."""

        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return obs[..., 0] * obs[..., 0] + 0.1 * action

    task = Climb(goal=1.0)
    # 0.5, 0.75, 1.0: the squares of the first two, and two tenths each.
    assert line_returns(Objective(task, Line()), 0.5, "222") == [pytest.approx(0.8125 + 0.4)]
    assert line_returns(Objective(task, Members(0.5, 0.25)), 0.0, "11") == [
        pytest.approx(0.2 + (0.25 + 0.0625) / 2)
    ]


# -- termination -----------------------------------------------------------------------------------


def test_rewards_count_up_to_the_end_and_the_ending_step_included() -> None:
    objective = Objective(LineTask(goal=1.0), Line())
    # From 0.5 in steps of a quarter: 0.75, then 1.0 which ends; what follows is worth nothing.
    assert line_returns(objective, 0.5, "22222", "22000", "11111", "21111", "00000") == [
        -1.75,
        -1.75,
        -2.5,
        -3.75,
        -(0.25 + 0 + 0.25 + 0.5 + 0.75),
    ]
    assert line_returns(objective, 1.0, "2", "1", "0") == [-1.25, -1.0, -0.75]


def test_agents_have_their_own_dynamics() -> None:
    objective = Objective(LineTask(), Line((0.25, -0.25, 0.5)))
    agents = torch.tensor([0, 1, 2])
    actions = sequences("22").expand(3, 1, 2)
    returns = objective(agents, torch.zeros(3, 1), actions)
    assert returns[:, 0].tolist() == [-0.75, -0.75, -1.5]
    assert line_returns(objective, 0.5, "22", agent=1) == [-0.25]


def test_no_step_is_taken_when_all_is_over() -> None:
    dynamics = Line((0.5,))
    objective = Objective(LineTask(), dynamics)
    assert line_returns(objective, 0.5, "2" * 40) == [-1.0]
    assert len(dynamics.calls) == CHECK_EVERY
    dynamics.calls.clear()
    assert line_returns(objective, 0.5, "2" * 40, "1" * 40) == [-1.0, -20.0]
    assert len(dynamics.calls) == 40


def test_a_task_that_is_over_from_the_start_still_pays_one_step() -> None:
    assert line_returns(Objective(LineTask(goal=-5.0), Line()), 0.0, "222") == [-0.25]


# -- what is not finite ----------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("task", [LineTask(goal=10.0), ActionTask(goal=10.0)], ids=["line", "act"])
def test_what_is_not_finite_ranks_last(task: LineTask, poison: float) -> None:
    objective = Objective(task, Line(poison=poison, poison_at=1.0))
    if poison == math.inf:  # an infinite prediction is beyond any goal, and must not be one
        assert task.terminated(torch.tensor([poison]))
    fine, lost, late = line_returns(objective, 0.5, "111111", "222222", "111122")
    assert math.isfinite(fine)
    assert lost == late == -math.inf


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_comes_after_the_end_does_not_matter(poison: float) -> None:
    # The goal is reached at 0.75, the poison waits at 1.
    objective = Objective(LineTask(goal=0.75), Line(poison=poison, poison_at=1.0))
    shaped = Objective(LineTask(goal=0.75), objective.dynamics, shaping=Shaping(0, 2.0))
    assert line_returns(objective, 0.5, "222", "221") == [-0.75, -0.75]
    assert line_returns(shaped, 0.5, "222", "221") == [0.75, 0.75]


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_one_lost_member_is_enough(poison: float) -> None:
    objective = Objective(ActionTask(goal=1e9), Members(0.0, poison))
    assert line_returns(objective, 0.0, "22") == [-math.inf]
    assert line_returns(Objective(ActionTask(goal=1e9), Members(0.0, 0.0)), 0.0, "22") == [2.0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_reward_that_is_not_finite_ranks_last(value: float) -> None:
    class Odd(LineTask):
        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return torch.where(action == 2, value, 1.0)

    assert line_returns(Objective(Odd(), Line()), 0.0, "111", "112") == [3.0, -math.inf]


def test_a_large_state_is_finite() -> None:
    value = line_returns(Objective(LineTask(goal=math.inf), Line((1e30,))), 0.0, "21")
    assert value == [pytest.approx(-2e30)]


# -- shaping ---------------------------------------------------------------------------------------


def test_shaping_adds_the_largest_value_reached() -> None:
    plain = Objective(LineTask(goal=1.0), Line())
    rows = ("200", "000", "222", "020")
    base = line_returns(plain, 0.5, *rows)
    largest = [0.75, 0.25, 1.0, 0.5]  # of the states predicted, not of the state now
    for weight in (0.5, 3.0):
        shaped = Objective(LineTask(goal=1.0), Line(), shaping=Shaping(0, weight))
        expected = [b + weight * m for b, m in zip(base, largest, strict=True)]
        assert line_returns(shaped, 0.5, *rows) == pytest.approx(expected)


def test_shaping_on_mountain_car() -> None:
    suite = find_suite("mountain-car")
    task, dynamics = suite.task(), suite.dynamics(suite.population())
    agents, states, actions = problems(task, 5, p=3, k=4, h=30)
    states = torch.tensor([[0.4, 0.03], [-0.5, 0.0], [0.3, 0.02]])
    for shaping in (Shaping(0, 0.5), Shaping(1, 10.0)):
        returns = Objective(task, dynamics, shaping=shaping)(agents, states, actions)
        expected = scalar_returns(
            task, dynamics, agents.numpy(), states.numpy(), actions, shaping=shaping
        )
        np.testing.assert_allclose(returns, expected, rtol=1e-9)


# -- members ---------------------------------------------------------------------------------------


def test_propagation_modes_by_hand() -> None:
    task = LineTask(goal=1e9)
    ensemble = Members(0.5, -0.5)
    # Each on its own: +-0.5, then +-1.0. All on their mean: +-0.5 around 0, both times.
    assert line_returns(Objective(task, ensemble, "members"), 0.0, "11") == [-1.5]
    assert line_returns(Objective(task, ensemble, "mean"), 0.0, "11") == [-1.0]
    # A third member drags the mean along.
    assert line_returns(Objective(task, Members(0.0, 0.0, 3.0), "mean"), 0.0, "11") == [
        pytest.approx(-(3.0 + (1 + 1 + 4)) / 3)
    ]


def test_members_end_each_at_its_own_time() -> None:
    # Member 0 ends at the second step (0.5, 1.0), member 1 never does.
    assert line_returns(Objective(LineTask(1.0), Members(0.5, 0.0)), 0.0, "1111") == [-0.75]


def test_an_unknown_propagation_is_refused() -> None:
    with pytest.raises(
        ValueError, match="propagation must be one of members, mean, sampled, sample, got 'median'"
    ):
        Objective(LineTask(), Line(), "median")  # type: ignore[arg-type]


# -- sampled members -------------------------------------------------------------------------------


def test_each_candidate_follows_one_member() -> None:
    """Members go 0, 1 and 10 a step; what a candidate is worth is what its member says."""
    ensemble = Members(0.0, 1.0, 10.0)
    objective = Objective(LineTask(goal=1e9), ensemble, "sampled")
    # In two steps 0, 1 + 2 and 10 + 20 from the start, and 0.1 a step more with action 2.
    assert line_returns(objective, 0.0, "11", "11", "11", "11", "22") == pytest.approx(
        [0.0, -3.0, -30.0, 0.0, -(1.1 + 2.2)]
    )
    every = line_returns(Objective(LineTask(goal=1e9), ensemble), 0.0, "11")
    assert every == [pytest.approx(-11.0)]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_sampled_members_of_a_simulator(task: PlainTask) -> None:
    sim = random_simulator(task, size=1.0)
    agents, states, actions = problems(task, 4, p=2, k=7, h=6)
    found = Objective(task, sim, "sampled")(agents, states, actions)
    for j in range(7):
        network = sim.ensemble.network.members([j % 3])  # type: ignore[attr-defined]
        alone = NetworkEnsemble(network, sim.ensemble.scaling)  # type: ignore[attr-defined]
        expected = Objective(task, PerSim(alone, task, sim.experience, {}))(
            agents, states, actions[:, j : j + 1]
        )
        torch.testing.assert_close(found[:, j : j + 1], expected, rtol=1e-4, atol=1e-4)


def test_sampling_costs_one_member(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    sim = random_simulator(TASKS["discrete"])
    hidden = LowRankNetwork.hidden

    def counted(network: LowRankNetwork, states: torch.Tensor) -> torch.Tensor:
        rows.append(states[..., 0].numel())
        return hidden(network, states)

    monkeypatch.setattr(LowRankNetwork, "hidden", counted)
    given = problems(sim.task, 4, p=1, k=30, h=2)
    Objective(sim.task, sim, "sampled")(*given)
    Objective(sim.task, sim, "members")(*given)
    assert rows == [30, 30, 90, 90]


def test_of_physics_there_is_one_member_to_sample() -> None:
    rows = ("222", "102", "011")
    assert line_returns(Objective(LineTask(), Line(), "sampled"), 0.0, *rows) == line_returns(
        Objective(LineTask(), Line()), 0.0, *rows
    )


# -- disagreement ----------------------------------------------------------------------------------


def test_a_penalty_by_hand() -> None:
    """Two members that go half a step up and down: deviations t / 2, in units of a half."""
    ensemble = Members(0.5, -0.5)
    task = ActionTask(goal=1e9)  # a point for each action 2, wherever it leads
    for penalty in (0.1, 2.0):
        apart = Objective(task, ensemble, penalty=penalty)
        assert line_returns(apart, 0.0, "111", "222") == pytest.approx(
            [-penalty * (1 + 2 + 3), 3 - penalty * (1 + 2 + 3)]
        )
        # From their common mean they are one step apart, every time.
        mean = Objective(task, ensemble, "mean", penalty=penalty)
        assert line_returns(mean, 0.0, "111", "222") == pytest.approx(
            [-3 * penalty, 3 - 3 * penalty]
        )


@pytest.mark.parametrize("propagation", ["members", "mean"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_penalty_is_the_simulators_disagreement(task: PlainTask, propagation: Any) -> None:
    sim = random_simulator(task, size=1.0)
    sim._change_scale.copy_(torch.linspace(0.5, 2.0, len(sim._change_scale)))
    agents, states, actions = problems(task, 4, p=2, k=3, h=5)
    plain = Objective(task, sim, propagation)(agents, states, actions)
    found = Objective(task, sim, propagation, penalty=0.7)(agents, states, actions)
    doubt = torch.zeros(2, 3)
    for p in range(2):
        for k in range(3):
            state = states[p].expand(3, 1, -1)
            for action in actions[p, k]:
                each = [
                    sim.predict_members(agents[p : p + 1], own, action[None])[i]
                    for i, own in enumerate(state)
                ]
                state = torch.stack(each)
                doubt[p, k] += sim.disagreement_of(state)[0]
                if propagation == "mean":
                    state = state.mean(0, keepdim=True).expand_as(state)
    torch.testing.assert_close(plain - found, 0.7 * doubt, rtol=1e-3, atol=1e-4)
    if propagation == "mean":  # one step is what PerSim.disagreement says
        one = Objective(task, sim, "mean", penalty=1.0)(agents, states, actions[:, :, :1])
        alone = Objective(task, sim, "mean")(agents, states, actions[:, :, :1])
        expected = sim.disagreement(agents, states, actions[:, 0, 0])
        torch.testing.assert_close((alone - one)[:, 0], expected, rtol=1e-3, atol=1e-5)
    assert doubt.min() > 0.05


def test_a_penalty_changes_what_is_chosen() -> None:
    class Doubt(Members):
        """Members agree about action 1 and not about action 2, which pays."""

        def unroll(self, agents: Any, states: Any, actions: Any, mode: str) -> Any:
            x = states[None, :, None].expand(self.members, *actions.shape[:2], 1)
            for t in range(actions.shape[2]):
                x = x + self.offsets[:, None, None, None] * (actions[:, :, t, None] == 2)
                yield x

    task, model = ActionTask(goal=1e9), Doubt(1.0, -1.0)
    rows = ("111", "112", "222")
    bold = line_returns(Objective(task, model), 0.0, *rows)
    careful = line_returns(Objective(task, model, penalty=1.0), 0.0, *rows)
    assert bold == [0.0, 1.0, 3.0]
    assert careful == pytest.approx([0.0, 1.0 - 2.0, 3.0 - (2 + 4 + 6)])


def test_members_that_have_ended_are_compared_no_more() -> None:
    """Of three members one ends in the first step, and one in the third."""
    ensemble = Members(0.0, 0.5, 1.5)
    free = Objective(LineTask(goal=1.5), ensemble)
    priced = Objective(LineTask(goal=1.5), ensemble, penalty=1.0)
    cost = line_returns(free, 0.0, "1111")[0] - line_returns(priced, 0.0, "1111")[0]
    # Step 1: 0, 0.5, 1.5, of all three. Steps 2 and 3: 0 and 0.5 t. Step 4: one is left.
    first = 2.0 * float(np.std([0.0, 0.5, 1.5]))
    second, third = 2.0 * float(np.std([0.0, 1.0])), 2.0 * float(np.std([0.0, 1.5]))
    assert cost == pytest.approx((3 * first + 2 * second + 2 * third) / 3)


def test_what_a_member_does_after_its_end_costs_nothing() -> None:
    class Wild(Members):
        """Member 1 ends in the first step and then leaves the numbers."""

        def unroll(self, agents: Any, states: Any, actions: Any, mode: str) -> Any:
            for t, obs in enumerate(super().unroll(agents, states, actions, mode)):
                if t:
                    obs = obs.clone()
                    obs[1] = math.nan
                yield obs

    tame, wild = Members(0.0, 2.0, 0.1), Wild(0.0, 2.0, 0.1)
    for penalty in (0.0, 1.0):
        expected = line_returns(Objective(LineTask(), tame, penalty=penalty), 0.0, "1111")
        assert line_returns(Objective(LineTask(), wild, penalty=penalty), 0.0, "1111") == expected
    # One that runs and is lost is worth nothing, with a penalty as without.
    lost = Wild(0.0, 0.0)
    assert line_returns(Objective(LineTask(), lost, penalty=1.0), 0.0, "11") == [-math.inf]


@pytest.mark.parametrize("penalty", [-0.1, math.nan, math.inf])
def test_a_penalty_is_finite_and_not_negative(penalty: float) -> None:
    with pytest.raises(ValueError, match="penalty must be finite and not negative, got"):
        Objective(LineTask(), Members(0.0, 1.0), penalty=penalty)


def test_a_penalty_needs_members_to_compare() -> None:
    for dynamics in (Line(), Members(0.5), random_simulator(TASKS["discrete"], members=1)):
        with pytest.raises(ValueError, match=r"needs a dynamics of several members.*ensemble_size"):
            Objective(LineTask(), dynamics, penalty=0.5)
        Objective(LineTask(), dynamics)
    with pytest.raises(ValueError, match="follows one: use 'members' or 'mean', or penalty=0"):
        Objective(LineTask(), Members(0.0, 1.0), "sampled", penalty=0.5)


# -- pieces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 5, 12, 10_000])
def test_pieces_make_no_difference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = find_suite("cartpole")
    cases: list[tuple[Task, Dynamics]] = [
        (suite.task(), suite.dynamics(suite.population())),
        (TASKS["bounded"], random_simulator(TASKS["bounded"])),
        (TASKS["continuous"], random_simulator(TASKS["continuous"])),
    ]
    for task, dynamics in cases:
        given = problems(task, 4, p=7, k=5, h=6)
        whole = Objective(task, dynamics)(*given)
        with monkeypatch.context() as patch:
            patch.setattr(objective_module, "ROWS_AT_ONCE", {"cpu": rows})
            pieces = Objective(task, dynamics)(*given)
        torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-5)
        assert pieces.shape == (7, 5)


def test_pieces_hold_as_many_rows_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective_module, "ROWS_AT_ONCE", {"cpu": 12})
    dynamics = Line()
    actions = torch.ones((7, 5, 1), dtype=torch.long)
    Objective(LineTask(), dynamics)(torch.zeros(7, dtype=torch.long), torch.zeros(7, 1), actions)
    assert dynamics.calls == [10, 10, 10, 5]  # two problems of five candidates at once


@pytest.mark.parametrize("propagation", ["members", "mean", "sampled"])
def test_dropping_changes_no_returns(propagation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems whose candidates end at very different times."""

    class Ending(PlainTask):
        def terminated(self, next_obs: Any) -> Any:
            return (next_obs * next_obs).sum(-1) > 1.0

    task = Ending.of(2, actions=3)
    sim = random_simulator(task, size=2.0)
    agents, states, actions = problems(task, 4, p=4, k=23, h=30)
    objective = Objective(task, sim, propagation, shaping=Shaping(1, 2.0))
    shapes = set()
    network = LowRankNetwork.hidden

    def seen(self: LowRankNetwork, inputs: torch.Tensor) -> torch.Tensor:
        shapes.add(inputs.shape[1])
        return network(self, inputs)

    monkeypatch.setattr(LowRankNetwork, "hidden", seen)
    found = objective(agents, states, actions)
    assert len(shapes) > 1, "nothing was dropped"
    monkeypatch.setattr(objective_module, "WORTH_DROPPING", 0.0)
    whole = objective(agents, states, actions)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


def test_candidates_that_are_over_are_dropped_and_keep_their_returns() -> None:
    """Of one problem's candidates those that are over cost nothing more; the returns stay."""
    dynamics = Line((0.5,))
    objective = Objective(LineTask(), dynamics, shaping=Shaping(coordinate=0, weight=2.0))
    ends = ["2" * 40] * 9 + ["1" * 40]  # nine reach the end at once, one stays where it is
    returns = line_returns(objective, 0.5, *ends)
    rows = list(dynamics.calls)
    assert rows[:CHECK_EVERY] == [10] * CHECK_EVERY
    assert set(rows[CHECK_EVERY:]) == {1}
    alone = [line_returns(objective, 0.5, sequence)[0] for sequence in ends]
    assert returns == alone


def test_problems_drop_candidates_of_their_own() -> None:
    """Two problems whose candidates end in turn; as many go on as the fuller one has left."""
    dynamics = Line((0.5, 0.5))
    objective = Objective(LineTask(), dynamics)
    over, stays = "2" * 40, "1" * 40
    actions = torch.cat([sequences(over, over, over, stays), sequences(stays, over, stays, over)])
    returns = objective(torch.tensor([0, 1]), torch.full((2, 1), 0.5), actions)
    assert returns.tolist() == [[-1.0, -1.0, -1.0, -20.0], [-20.0, -1.0, -20.0, -1.0]]
    assert dynamics.calls == [8] * CHECK_EVERY + [4] * (40 - CHECK_EVERY)


@pytest.mark.parametrize("least", [-math.inf, -1.0])
@pytest.mark.parametrize("leading", [1, 3])
@pytest.mark.parametrize("propagation", ["members", "mean", "sampled"])
def test_what_cannot_be_among_the_best_is_not_followed(
    propagation: Any, leading: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no reward is above 0, the best are the same, with the same returns, for less work."""

    class Costs(PlainTask):
        reward_range = (least, 0.0)

        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return (-(next_obs * next_obs).sum(-1) - 0.1).clamp(least, 0)

        def terminated(self, next_obs: Any) -> Any:
            return next_obs[..., 0] > 0.1

    task = Costs.of(2, actions=3)
    sim = random_simulator(task, size=2.0)
    agents, states, actions = problems(task, 4, p=4, k=23, h=60)
    objective = Objective(task, sim, propagation)
    rows, network = [], LowRankNetwork.hidden

    def seen(self: LowRankNetwork, inputs: torch.Tensor) -> torch.Tensor:
        rows.append(inputs.shape[1])
        return network(self, inputs)

    monkeypatch.setattr(LowRankNetwork, "hidden", seen)
    whole, all_rows = objective(agents, states, actions), sum(rows)
    rows.clear()
    found = objective(agents, states, actions, leading)
    assert sum(rows) < all_rows
    best, which = found.topk(leading, dim=1)
    torch.testing.assert_close(best, whole.topk(leading, dim=1).values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(best, whole.gather(1, which), rtol=1e-4, atol=1e-4)


def test_an_end_without_a_finite_return_is_not_better_than_any() -> None:
    class Undefined(LineTask):
        reward_range = (-1.0, 0.0)

        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return torch.where(action == 2, torch.nan, -1.0)

    rows = sequences("2" * 40, "1" * 40, "0" * 40)
    returns = Objective(Undefined(), Line((0.5,)))(
        torch.tensor([0]), torch.tensor([[0.5]]), rows, 1
    )
    assert returns.tolist() == [[-math.inf, -40.0, -40.0]]


@pytest.mark.parametrize("derived", [False, True])
def test_rewards_that_data_show_are_bounds_but_of_no_derived_task(derived: bool) -> None:
    class Other(DataTask):
        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return super().reward(obs, action, next_obs) + 5

    data = transitions([0, 0], [[0.0], [1.0]], [0, 1], [[1.0], [2.0]])
    kind = Other if derived else DataTask
    task = kind.from_transitions(replace(data, reward=np.array([-1.0, -2.0])))
    assert _reward_range(task) == (None if derived else (-2.0, -1.0))


@pytest.mark.parametrize("most", [None, 1.0])
def test_all_are_followed_where_something_may_still_be_earned(
    most: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LineTask, "reward_range", most and (-1.0, most), raising=False)
    dynamics = Line((0.5,))
    over, stays = "2" * 40, "1" * 40
    Objective(LineTask(), dynamics)(
        torch.tensor([0]), torch.tensor([[0.5]]), sequences(over, stays), 1
    )
    assert len(dynamics.calls) == 40


def test_a_bound_is_of_the_class_that_has_it_itself() -> None:
    """A task that is derived from it may have another reward."""

    class Derived(type(find_suite("mountain-car").task())):  # type: ignore[misc]
        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return 0.2 + 3.0 * self.terminated(next_obs)

        def terminated(self, next_obs: Any) -> Any:
            return next_obs[..., 1] > 0.005

    suite = find_suite("mountain-car")
    objective = Objective(Derived(), suite.dynamics(suite.population()))
    parts = problems(objective.task, 5, p=1, k=40, h=60)
    whole = objective(*parts)
    assert len(whole.unique()) > 1
    assert torch.equal(objective(*parts, 1), whole)


def test_a_given_reward_has_no_bound_of_the_task() -> None:
    task = find_suite("mountain-car").task()
    assert getattr(task, "reward_range", None) == (-1.0, 0.0)
    assert getattr(rewarded(task, "position"), "reward_range", None) is None
