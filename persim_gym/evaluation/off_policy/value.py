"""The value of a policy for every agent, from data: three ways side by side, and what they say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.evaluation.matching import agents_by_name
from persim_gym.evaluation.off_policy.fitted_q import fitted_q
from persim_gym.evaluation.off_policy.simulated import Simulated, simulate
from persim_gym.evaluation.off_policy.stretches import (
    RecordedStretches,
    importance_values,
    recorded_stretches,
    sensible_length,
)
from persim_gym.evaluation.off_policy.target_policy import Decider, behaviour_probability
from persim_gym.learned.data import Data
from persim_gym.learned.outcomes.given_reward import (
    Reward,
    RewardedTask,
    check_has_reward,
    rewarded,
    without_given,
)
from persim_gym.learned.preparation import as_transitions
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Simulated episodes of an agent, and most of all agents together; stretches of an agent that they
#: begin at.
EPISODES, MOST, STARTS = 100, 100_000, 10
#: Share of simulated episodes whose returns an interval holds.
LEVEL = 0.95
#: Effective stretches below which importance sampling says nothing.
ENOUGH = 10
#: Share of agents for which two ways must agree, and of steps outside of the record that is too
#: much.
AGREE, OUTSIDE = 0.8, 0.1

#: Part of the standard deviation of what recorded stretches earned by which two ways may differ.
CLOSE = 0.25

OFF_POLICY_RULES = (
    "Fitted-Q evaluation and simulation agree on an agent if the first is within the interval of "
    f"{LEVEL:.0%} of the simulated episodes, or off their mean by less than {CLOSE} standard "
    "deviations of what recorded stretches earned.",
    f"The value is not to be relied on if they disagree on more than {1 - AGREE:.0%} of the "
    f"agents. Nor is it if more than {OUTSIDE:.0%} of the simulated steps take actions, or lead "
    "into states, outside of what was recorded of any agent.",
    f"Importance sampling says something from {ENOUGH} effective stretches on.",
)


@dataclass(frozen=True, slots=True)
class AgentValue:
    """What a policy is worth for one agent, as sums of rewards over a stretch.

    Attributes:
        agent: Its name.
        recorded: What was earned, on average over its recorded stretches.
        simulated: What simulated episodes from the same states earn, on average.
        low: End of the interval that holds 95% of the simulated episodes.
        high: Its upper end.
        fitted_q: What fitted-Q evaluation says, without a simulator.
        importance: What importance sampling says; ``nan`` where it says nothing.
        effective: Stretches that this rests on, effectively.
        agrees: Whether simulation and fitted-Q evaluation agree.
    """

    agent: str
    recorded: float
    simulated: float
    low: float
    high: float
    fitted_q: float
    importance: float
    effective: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """The value of one policy for the agents of data.

    Attributes:
        policy: Its name.
        steps: Of a stretch.
        discount: Of rewards.
        reward: Which reward: an expression, ``"a function"`` or ``"of the data"``.
        agents: Of every agent with a stretch.
        importance: Of all agents together by importance sampling; ``nan`` where it says nothing.
        effective: Stretches that this rests on, effectively.
        stretches: Recorded stretches.
        importance_note: Why there is no importance sampling; empty where there is.
        outside_actions: Share of simulated steps whose action is outside of the record.
        outside_states: Share that led outside of the recorded range.
    """

    policy: str
    steps: int
    discount: float
    reward: str
    agents: tuple[AgentValue, ...]
    importance: float
    effective: float
    stretches: int
    importance_note: str
    outside_actions: float
    outside_states: float

    def mean(self, name: str) -> float:
        """A number's mean over the agents, such as of ``"simulated"``."""
        return float(np.mean([getattr(own, name) for own in self.agents]))

    @property
    def relied_on(self) -> bool:
        """Whether the simulated values may be relied on, by the stated rules."""
        agree = float(np.mean([own.agrees for own in self.agents]))
        return agree >= AGREE and max(self.outside_actions, self.outside_states) <= OUTSIDE

    @property
    def sentences(self) -> list[str]:
        """What came of it, in words."""
        agreed = sum(own.agrees for own in self.agents)
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        found = [
            f"Policy {self.policy} over {steps}: an agent earns {_n(self.mean('simulated'))} on "
            f"average in simulation, {_n(self.mean('fitted_q'))} by fitted-Q evaluation, which "
            f"uses no simulator, and {_n(self.mean('recorded'))} was recorded from the same states."
        ]
        share = f"{agreed} of {len(self.agents)} agents"
        if agreed < AGREE * len(self.agents):
            found.append(
                f"Simulation and fitted-Q evaluation agree on {share} only: do not rely on these "
                "values."
            )
        else:
            found.append(f"The two agree on {share}.")
        for share_, what in (
            (self.outside_actions, "take actions"),
            (self.outside_states, "lead into states"),
        ):
            if share_ > OUTSIDE:
                found.append(
                    f"{share_:.0%} of the policy's simulated steps {what} outside of what was "
                    "recorded: do not rely on these values."
                )
        return [*found, self._sampled]

    @property
    def _sampled(self) -> str:
        if self.importance_note:
            return self.importance_note
        rests = f"{self.effective:.0f} effective stretches of {self.stretches:,}"
        if self.effective < ENOUGH:
            return f"Importance sampling says nothing: it rests on {rests}."
        return f"Importance sampling says {_n(self.importance)}; it rests on {rests}."

    def to_json(self) -> dict[str, Any]:
        """Everything as plain types; what is not known stays ``nan``."""
        plain = asdict(self)
        means = {name: self.mean(name) for name in ("recorded", "simulated", "fitted_q")}
        return plain | {
            "mean": means,
            "relied_on": self.relied_on,
            "sentences": self.sentences,
            "rules": list(OFF_POLICY_RULES),
        }


def off_policy(
    sim: PerSim,
    data: Any,
    policy: Any,
    *,
    steps: int | None = None,
    discount: float = 1.0,
    reward: Reward | None = None,
    behaviour: Any = None,
    episodes: int = EPISODES,
    seed: int = 0,
) -> OffPolicy:
    """What a policy would earn over stretches of the record, for every agent.

    Every episode is cut into stretches. From their first states the policy is simulated, with
    members, noise of the process and starts drawn; its value there is fitted from the transitions
    alone (:func:`~persim_gym.evaluation.off_policy.fitted_q.fitted_q`); and the stretches are
    weighted by how likely the policy would have made them, where the behaviour is known. The three
    go wrong in different ways: a wrong simulator, functions that are not quadratic, few stretches
    that fit.

    Args:
        sim: The simulator.
        data: What was recorded of its agents, as :meth:`PerSim.fit` takes it.
        policy: ``"hold"`` (each agent keeps to its usual action), ``"random"`` (uniform within the
            recorded range), or whatever ``record`` takes. It is asked without memory of earlier
            steps.
        steps: Of a stretch; by default what leaves most agents two.
        discount: Of rewards, above 0 and up to 1.
        reward: An expression or function, as in :meth:`PerSim.with_reward`, for the data as well;
            by default what was recorded, and in the simulator the task's or the learned one.
        behaviour: How likely the recorded actions were: a function of observations ``[n, d]`` and
            actions ``[n(, a)]`` that returns ``[n]``, or a behaviour; by default what the name of
            the data set says, if it is one of this package's.
        episodes: Simulated episodes of each agent.
        seed: Of everything that is drawn.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid, there is no reward, or no stretch.
    """
    found = as_transitions(data)
    task = task_with(sim.task, reward)
    discount = checks.number("discount", discount, 0, 1, above=True, says="above 0 and up to 1")
    episodes = checks.integer("episodes", episodes, 1)
    rng = np.random.default_rng(checks.integer("seed", seed, 0, checks.LARGEST_SEED))
    decider = Decider(policy, task, found)
    chances = behaviour_probability(behaviour, task, found)
    known = agents_by_name(found, sim)
    stretches = _stretches(found, known, steps)
    rewards = found.reward
    if isinstance(task, RewardedTask):
        rewards = np.asarray(task.reward(found.obs, found.action, found.next_obs), np.float64)
    whose = found.agent[stretches.start]
    there, place = np.unique(whose, return_inverse=True)
    drawn, of_agent = _simulated(
        sim, task, decider, found, known, stretches, episodes, discount, rng
    )
    turn, choices = _geometry(found, task)
    value = fitted_q(
        found, rewards, decider, stretches.start, stretches.steps, discount, turn, choices, rng
    )
    ratio, note = _ratio(decider, chances, found)
    sampled = _sampled(ratio, rewards, stretches, place, len(there), discount)
    earned, fitted = stretches.returns(rewards, discount), _means(value, place)
    mean, low, high = _intervals(drawn.returns, np.searchsorted(there, of_agent), len(there))
    close = np.abs(fitted - mean) < CLOSE * earned.std()
    agrees = ((low <= fitted) & (fitted <= high)) | close
    columns = {
        "recorded": _means(earned, place), "simulated": mean, "low": low, "high": high,
        "fitted_q": fitted, "importance": sampled[0], "effective": sampled[1],
    }  # fmt: skip
    names = [str(k) if found.agent_names is None else found.agent_names[k] for k in there.tolist()]
    done = max(int(drawn.steps.sum()), 1)
    return OffPolicy(
        policy=decider.name,
        steps=stretches.steps,
        discount=discount,
        reward=_reward_name(task),
        agents=tuple(
            AgentValue(
                name,
                agrees=bool(agrees[k]),
                **{word: float(column[k]) for word, column in columns.items()},
            )
            for k, name in enumerate(names)
        ),
        importance=float(sampled[0][-1]),
        effective=float(sampled[1][-1]),
        stretches=len(stretches.start),
        importance_note=note,
        outside_actions=float(drawn.outside.sum()) / done,
        outside_states=float(drawn.states.sum()) / done,
    )


def task_with(task: Task, reward: Reward | None) -> Task:
    """A task with a reward that says something.

    Raises:
        TypeError: If the reward is neither an expression nor a function.
        ValueError: If it is not allowed, or there is none at all.
    """
    task = task if reward is None else rewarded(without_given(task), reward)
    check_has_reward(task)
    return task


def _reward_name(task: Task) -> str:
    if not isinstance(task, RewardedTask):
        return "of the data"
    return task.given if isinstance(task.given, str) else "a function"


def _stretches(data: Transitions, known: NDArray[np.int64], steps: int | None) -> RecordedStretches:
    """Stretches of agents that the simulator knows."""
    length = sensible_length(data) if steps is None else checks.integer("steps", steps, 1, 10_000)
    found = recorded_stretches(data, length)
    used = known[data.agent[found.start]] >= 0
    if not used.any():
        longest = int(np.bincount(data.episode - data.episode.min()).max())
        raise ValueError(
            f"no record has a stretch of {length} steps of an agent that the simulator knows: "
            f"ask for fewer (the longest has {longest})"
        )
    return RecordedStretches(found.start[used], found.length[used], length)


def _simulated(
    sim: PerSim,
    task: Task,
    decider: Decider,
    data: Transitions,
    known: NDArray[np.int64],
    stretches: RecordedStretches,
    episodes: int,
    discount: float,
    rng: np.random.Generator,
) -> tuple[Simulated, NDArray[np.int64]]:
    """Episodes from stretches of each agent, in turn, and whose each is ``[n]``."""
    whose = data.agent[stretches.start]
    order = np.argsort(whose, kind="stable")
    there, begins, count = np.unique(whose[order], return_index=True, return_counts=True)
    each = max(1, min(episodes, MOST // len(there)))
    # Distributed over the agent's stretches, so that few of many are not the first ones.
    used = np.minimum(count, STARTS)
    turns = np.arange(each)[None] % used[:, None]
    rows = order[begins[:, None] + turns * count[:, None] // used[:, None]].reshape(-1)
    start = stretches.start[rows]
    agents = data.agent[start]
    states = np.asarray(sim.states_of(data)[start], dtype=np.float32)
    parts = (known[agents], agents, states, stretches.steps, discount, rng)
    return simulate(sim, task, decider, *parts), agents


def _intervals(returns: Floats, place: NDArray[np.int64], agents: int) -> list[Floats]:
    """Mean, lower and upper ends of each agent's returns ``[A]``, which have equal numbers."""
    by_agent = returns[np.argsort(place, kind="stable")].reshape(agents, -1)
    ends = np.quantile(by_agent, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return [by_agent.mean(1), *ends]


def _ratio(
    decider: Decider, chances: Floats | None, data: Transitions
) -> tuple[Floats | None, str]:
    """The policy's probabilities by the behaviour's, or why they are not known."""
    if chances is None:
        return None, (
            "There is no importance sampling: with which probability the recorded actions were "
            "taken is not known (behaviour=)."
        )
    own = decider.probability(data.agent, data.obs, data.action)
    if own is None:
        return None, (
            f"There is no importance sampling: policy {decider.name} has no probabilities of its "
            "actions."
        )
    return own / chances, ""


def _sampled(
    ratio: Floats | None,
    rewards: Floats,
    stretches: RecordedStretches,
    place: NDArray[np.int64],
    agents: int,
    discount: float,
) -> tuple[Floats, Floats]:
    """Values and effective numbers of each agent, and of all at the end ``[A + 1]``."""
    if ratio is None:
        return np.full(agents + 1, np.nan), np.zeros(agents + 1)
    own = importance_values(ratio, rewards, stretches, place, agents, discount)
    everyone = importance_values(ratio, rewards, stretches, np.zeros_like(place), 1, discount)
    values, effective = (np.append(a, b) for a, b in zip(own, everyone, strict=True))
    return values, effective


def _geometry(data: Transitions, task: Task) -> tuple[Floats, int]:
    """Full turns of coordinates that go round ``[d]``, and the number of discrete actions."""
    turn = np.zeros(data.obs.shape[1])
    for angle in Data(data, without_given(task)).geometry.angles:
        turn[angle.column] = angle.period
    space = task.action_space
    return turn, int(space.n) if isinstance(space, Discrete) else 0


def _means(values: Floats, place: NDArray[np.int64]) -> Floats:
    return np.asarray(np.bincount(place, values) / np.bincount(place))


def _n(value: float) -> str:
    return f"{value:.3g}"
