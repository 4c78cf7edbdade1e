"""Candidates from a proposal: what is drawn, in which states, and what is chosen among it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.envs import find_suite
from persim_gym.planning import CEM, MPC, CategoricalCEM, RandomShooting, choose_planner
from persim_gym.planning.proposal import Proposed
from tests.learned.worlds import PlainTask, random_simulator, walker
from tests.planning.worlds import Line, LineTask, Memory


@dataclass
class Towards:
    """Goes to the origin, sometimes; keeps what it has seen."""

    choices: tuple[int, ...] = (0, 2)
    seen: list[NDArray[Any]] = field(default_factory=list)

    def sample(self, observations: NDArray[Any], k: int, rng: np.random.Generator) -> NDArray[Any]:
        self.seen.append(observations.copy())
        return rng.choice(self.choices, size=(len(observations), k))


@dataclass
class Fixed:
    """Gives what it is told to give."""

    actions: Any

    def sample(self, observations: NDArray[Any], k: int, rng: np.random.Generator) -> NDArray[Any]:
        return np.broadcast_to(self.actions, (len(observations), k, *np.shape(self.actions)))


def test_sequences_are_rolled_through_the_dynamics_step_by_step() -> None:
    proposal = Towards()
    proposed = Proposed(proposal, Line(), Discrete(3), 1)
    states, agents = np.array([[0.1], [0.2]]), np.array([0, 2])
    drawn = proposed.draw(agents, states, (5, 4), np.random.default_rng(0))
    assert drawn.shape == (2, 5, 4)
    assert set(drawn.ravel()) == {0, 2}
    assert [len(seen) for seen in proposal.seen] == [2, 10, 10, 10]
    # What it saw is where the actions before led to.
    strides = np.array([0.25, 0.5])[:, None, None]
    paths = states[:, None] + np.cumsum(strides * (drawn - 1), axis=2)
    for t in range(3):
        np.testing.assert_allclose(
            proposal.seen[t + 1].reshape(2, 5), paths[:, :, t], rtol=1e-6, atol=1e-7
        )


def test_a_dynamics_with_a_memory_is_followed() -> None:
    proposal, dynamics = Towards((2,)), Memory()
    proposed = Proposed(proposal, dynamics, Discrete(3), 2)
    states = np.array([[[0.0, 0.0], [0.1, 0.2]]])
    proposed.draw(np.array([1]), states, (1, 3), np.random.default_rng(0))
    state = states
    for seen in proposal.seen:
        np.testing.assert_allclose(seen, state[:, -1], rtol=1e-6)
        after = dynamics.step(np.array([1]), state, np.array([2]))
        state = np.concatenate([state[:, 1:], after[:, None]], axis=1)


def test_the_last_plan_goes_on_as_the_first_candidate() -> None:
    proposed = Proposed(Towards((1,)), Line(), Discrete(3), 1)
    plans = np.array([[0, 2, 0, 2], [2, 2, 2, 2]])
    drawn = proposed.draw(
        np.array([0, 0]), np.zeros((2, 1)), (3, 4), np.random.default_rng(0), plans,
        np.array([False, True]),
    )  # fmt: skip
    assert drawn[0, 0].tolist() == [2, 0, 2, 1]
    assert (drawn[0, 1:] == 1).all()
    assert (drawn[1] == 1).all()


@pytest.mark.parametrize("decide", ["best", "mean"])
@pytest.mark.parametrize("allowed", [(0, 1), (1,), (0, 2)])
def test_nothing_is_done_that_is_not_proposed(decide: Any, allowed: tuple[int, ...]) -> None:
    planner = RandomShooting(20, 3, decide=decide)
    mpc = MPC(Line(), [0, 0, 1], task=LineTask(), planner=planner, proposal=Towards(allowed))
    obs, taken = np.array([[-0.9], [0.4], [-0.6]]), []
    for _ in range(3):
        actions, _ = mpc.predict(obs)
        taken.append(actions)
    assert set(np.ravel(taken)) <= set(allowed)
    if allowed == (0, 2):  # the best of them: towards the origin, for each agent its own way
        assert taken[0].tolist() == [2, 0, 0]


def test_a_seed_gives_the_same_plans_again() -> None:
    def run(seed: int) -> list[Any]:
        planner = RandomShooting(3, 4)
        mpc = MPC(Line(), task=LineTask(), planner=planner, proposal=Towards((0, 1, 2)), seed=seed)
        return [mpc.predict(np.array([x]))[0].item() for x in np.linspace(-0.9, 0.9, 12)]

    assert run(1) == run(1)
    assert any(run(1) != run(seed) for seed in (2, 3, -1))


def test_it_plans_in_a_simulator_of_several_members() -> None:
    sim = walker()
    proposal = Towards((0,))
    mpc = MPC(sim, [0, 1], planner=RandomShooting(4, 3), proposal=proposal)
    actions, _ = mpc.predict(np.zeros((2, 1), dtype=np.float32))
    assert actions.tolist() == [0, 0]
    assert all(np.isfinite(seen).all() for seen in proposal.seen)


def test_what_has_left_the_numbers_is_not_shown_to_the_proposal() -> None:
    proposal = Towards((2,))
    line = Line(poison=np.nan, poison_at=0.3)
    mpc = MPC(line, task=LineTask(), planner=RandomShooting(2, 4), proposal=proposal)
    mpc.predict(np.array([0.2]))
    assert all(np.isfinite(seen).all() for seen in proposal.seen)


def test_the_tasks_planner_lends_its_sizes_and_its_objective() -> None:
    sim = random_simulator(find_suite("half-cheetah").task())
    choice = choose_planner(sim.task)
    mpc = MPC(sim, 0, proposal=Fixed(np.zeros(6, dtype=np.float32)))
    sizes: Any = choice.planner
    assert mpc.planner == RandomShooting(sizes.candidates, sizes.horizon)
    assert mpc.objective.shaping == choice.shaping
    assert mpc.objective.propagation == choice.propagation


@pytest.mark.parametrize(
    ("planner", "kind"), [(CEM(), "CEM"), ("icem", "ICEM"), (CategoricalCEM(), "Categorical")]
)
def test_planners_with_candidates_of_their_own_are_refused(planner: Any, kind: str) -> None:
    task = PlainTask(
        name="plain",
        observation_space=Box(-1, 1, (1,), dtype=np.float32),
        action_space=Box(-1, 1, (1,), dtype=np.float32),
    )
    with pytest.raises(ValueError, match=f"{kind}.* makes candidates of its own"):
        MPC(Line(), task=task, planner=planner, proposal=Towards())


@pytest.mark.parametrize("proposal", [1, "sfbc", lambda obs, k, rng: obs])
def test_what_cannot_be_drawn_from_is_refused(proposal: Any) -> None:
    with pytest.raises(TypeError, match=r"proposal must have sample\(observations, k, rng\)"):
        MPC(Line(), task=LineTask(), proposal=proposal)


@pytest.mark.parametrize(
    ("actions", "says"),
    [(3, "not in"), (-1, "not in"), (0.5, "expected"), ([1, 1], "shape"), ("a", "expected")],
)
def test_actions_that_do_not_exist_are_refused(actions: Any, says: str) -> None:
    mpc = MPC(Line(), task=LineTask(), planner=RandomShooting(2, 2), proposal=Fixed(actions))
    with pytest.raises(ValueError, match=says):
        mpc.predict(np.array([0.0]))


@pytest.mark.parametrize("actions", [[2.0], [np.nan], [-1.1]])
def test_continuous_actions_are_inside_their_space(actions: Any) -> None:
    proposed = Proposed(Fixed(np.array(actions)), Line(), Box(-1, 1, (1,)), 1)
    with pytest.raises(ValueError, match="not in Box"):
        proposed.draw(np.array([0]), np.zeros((1, 1)), (2, 2), np.random.default_rng(0))


def test_an_end_of_the_space_is_inside_it_whatever_the_precision() -> None:
    proposed = Proposed(Fixed(np.array([0.7])), Line(), Box(-0.7, 0.7, (1,)), 1)
    drawn = proposed.draw(np.array([0]), np.zeros((1, 1)), (2, 1), np.random.default_rng(0))
    assert (drawn == np.float32(0.7)).all()
