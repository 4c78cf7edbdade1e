"""How much of everything a demo does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from persim_gym import checks
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.envs.suites import find_suite
from persim_gym.experiments.cell import TEST_AGENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """How much of everything a demo does.

    Attributes:
        agents: Agents that are recorded and fitted.
        fit: What differs from the fit's default preset.
        episodes: Episodes of each test agent in the evaluation of predictions.
        return_episodes: Episodes for the returns of the random and the trained policy.
        plan_episodes: Episodes of each test agent with MPC.
        plan_steps: Time limit of these, ``None`` for the task's.
        planner: What differs from the settings of the task's own planner.
        train_agent: In whose simulator a policy is trained.
        train_steps: For how many steps.
        clip_steps: Steps of the film.
    """

    agents: int = DEFAULT_SIZE
    fit: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 50
    return_episodes: int = 20
    plan_episodes: int = 5
    plan_steps: int | None = None
    planner: Mapping[str, Any] = field(default_factory=dict)
    train_agent: int = 3
    train_steps: int = 30_000
    clip_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        checks.make_plain(self)
        checks.integer("agents", self.agents, 10)  # the probe of the latent factors needs ten
        for name in ("episodes", "return_episodes", "plan_episodes", "train_steps", "clip_steps"):
            checks.integer(name, getattr(self, name), 1)
        checks.integer("plan_steps", 1 if self.plan_steps is None else self.plan_steps, 1)
        checks.a_mapping("fit", self.fit)
        checks.a_mapping("planner", self.planner)
        checks.integer("train_agent", self.train_agent)
        if self.train_agent not in TEST_AGENTS:
            raise ValueError(f"train_agent must be a test agent, 0 to 4, got {self.train_agent}")


_FULL: dict[str, DemoSettings] = {
    "cartpole": DemoSettings(train_steps=20_000),
    "mountain-car": DemoSettings(train_steps=80_000, clip_steps=150),
    "half-cheetah": DemoSettings(plan_episodes=1, plan_steps=200, train_steps=20_000),
}  # fmt: skip
_QUICK: dict[str, DemoSettings] = {
    "cartpole": DemoSettings(
        agents=100, fit={"ensemble_size": 3}, episodes=10,
        return_episodes=10, plan_episodes=1, train_steps=10_000,
    ),
    "mountain-car": DemoSettings(
        agents=60, fit={"ensemble_size": 3}, episodes=10,
        return_episodes=10, plan_episodes=1, train_steps=40_000,
        clip_steps=150,
    ),
    "half-cheetah": DemoSettings(
        agents=40,
        fit={"epochs": 12, "ensemble_size": 2, "state_hidden": [256, 256], "batch_size": 256},
        episodes=10, return_episodes=5, plan_episodes=1, plan_steps=60,
        planner={"candidates": 40, "horizon": 15}, train_steps=4000,
        clip_steps=60,
    ),
}  # fmt: skip


def demo_settings(task: str, quick: bool = False) -> DemoSettings:
    """The settings of a task's demo, in full or in small.

    Raises:
        ValueError: If there is no such task.
    """
    return (_QUICK if checks.switch("quick", quick) else _FULL)[find_suite(task).name]
