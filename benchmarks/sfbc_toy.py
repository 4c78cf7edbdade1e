"""Four ways that are equally good: what becomes of the mean of them, and what SfBC does.

A point starts in the middle of a square and is to reach any of four goals around it, in as few
steps as it can. The behaviour picks one of the goals at random, and dawdles in a third of its
steps. The mean of all ways is to stay where one is: that is what a Gaussian learns. A diffusion
model keeps the ways apart, and the critic leaves the dawdling out.

    python benchmarks/sfbc_toy.py --out docs/images/sfbc-toy.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from persim_gym.baselines import Cloning, SfBC
from persim_gym.offline.transitions import Transitions

GOALS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
STRIDE, REACH, LIMIT = 0.2, 0.2, 12
DAWDLING = 1 / 3


@dataclass(frozen=True)
class FourGoals:
    """A point in the plane that moves by its action; every step costs one."""

    name: str = "four-goals"
    observation_space: Box = field(default_factory=lambda: Box(-5, 5, (2,), np.float32))
    action_space: Box = field(default_factory=lambda: Box(-1, 1, (2,), np.float32))
    max_episode_steps: int = LIMIT
    render_fps: int = 10
    root_velocity: None = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return next_obs[..., 0] * 0 - 1

    def terminated(self, next_obs: Any) -> Any:
        away = ((next_obs[..., None, :] - GOALS) ** 2).sum(-1)
        return (away <= REACH**2).any(-1)

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return rng.uniform(-0.05, 0.05, (n, 2))


@dataclass(frozen=True)
class Paths:
    """Episodes side by side: positions ``[E, LIMIT + 1, 2]``, actions, and how long they ran."""

    positions: NDArray[np.float64]
    actions: NDArray[np.float64]
    lengths: NDArray[np.int64]
    arrived: NDArray[np.bool_]

    @property
    def returns(self) -> NDArray[np.float64]:
        return -self.lengths.astype(np.float64)


def play(act: Any, episodes: int, seed: int) -> Paths:
    """Play episodes; ``act(positions, step)`` gives actions."""
    task, rng = FourGoals(), np.random.default_rng(seed)
    at = np.empty((episodes, LIMIT + 1, 2))
    acted = np.empty((episodes, LIMIT, 2))
    at[:, 0] = task.sample_start(rng, episodes)
    lengths = np.full(episodes, LIMIT)
    arrived = np.zeros(episodes, dtype=np.bool_)
    for t in range(LIMIT):
        acted[:, t] = np.clip(act(at[:, t], t), -1, 1)
        at[:, t + 1] = np.where(arrived[:, None], at[:, t], at[:, t] + STRIDE * acted[:, t])
        now = task.terminated(at[:, t + 1]) & ~arrived
        lengths[now], arrived = t + 1, arrived | now
    return Paths(at, acted, lengths, arrived)


def recorded(episodes: int, seed: int) -> tuple[Paths, Transitions]:
    """The behaviour's episodes, as paths and as data."""
    rng = np.random.default_rng(seed)
    goals = GOALS[rng.integers(4, size=episodes)]

    def act(at: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        way = goals - at
        straight = way / np.maximum(np.abs(way).max(-1, keepdims=True), 0.2)
        dawdle = rng.uniform(-0.3, 0.3, at.shape)
        lost = rng.random(len(at)) < DAWDLING
        return np.where(lost[:, None], dawdle, straight + 0.1 * rng.normal(size=at.shape))

    paths = play(act, episodes, seed)
    episode = np.repeat(np.arange(episodes), paths.lengths)
    step = np.concatenate([np.arange(length) for length in paths.lengths])
    last = np.append(episode[1:] != episode[:-1], True)
    data = Transitions(
        agent=np.zeros(len(episode), dtype=np.int64),
        obs=paths.positions[episode, step].astype(np.float32),
        action=paths.actions[episode, step].astype(np.float32),
        next_obs=paths.positions[episode, step + 1].astype(np.float32),
        reward=np.full(len(episode), -1.0),
        terminated=last & paths.arrived[episode],
        truncated=last & ~paths.arrived[episode],
        episode=episode,
        num_agents=1,
        task_name=FourGoals().name,
    )
    return paths, data


def compare(episodes: int, played: int, **options: int) -> dict[str, Paths]:
    """Paths of the behaviour, a Gaussian clone, a diffusion clone and SfBC."""
    behaviour, data = recorded(episodes, seed=0)
    common: dict[str, Any] = {"task": FourGoals(), "seed": 0, "progress": False}
    gaussian = Cloning.fit(data, **common, updates=options.get("updates", 2000))
    sfbc = SfBC.fit(data, **common, **options)
    rng = np.random.default_rng(1)

    def cloned(at: NDArray[np.float64], step: int) -> NDArray[Any]:
        return sfbc.sample(at, 1, rng)[:, 0]

    return {
        "behaviour": behaviour,
        "Gaussian clone": play(lambda at, step: gaussian.predict(at)[0], played, 1),
        "diffusion clone": play(cloned, played, 1),
        "SfBC": play(lambda at, step: sfbc.predict(at, deterministic=False)[0], played, 1),
    }


def draw(found: dict[str, Paths], out: Path) -> None:
    """A panel for each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(3 * len(found), 3.3), sharey=True)
    for axis, (name, paths) in zip(axes, found.items(), strict=True):
        for path, length in list(zip(paths.positions, paths.lengths, strict=True))[:60]:
            axis.plot(*path[: length + 1].T, color="#2a6f97", alpha=0.35, linewidth=1)
        for goal in GOALS:
            axis.add_patch(pyplot.Circle(goal, REACH, color="#e9c46a", zorder=0))
        arrived = f"{paths.arrived.mean():.0%} arrive"
        axis.set_title(f"{name}\nreturn {paths.returns.mean():.1f}, {arrived}", fontsize=10)
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(out, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the figure")
    parser.add_argument("--quick", action="store_true", help="small, to show that it runs")
    args = parser.parse_args(argv)
    if args.quick:
        sizes = {"updates": 100, "critic_updates": 100}
        found = compare(100, 40, **sizes, planned=8, widths=(64, 32))
    else:
        found = compare(400, 200, updates=3000)
    print(f"{'':16} {'return':>7} {'arrive':>7} {'goals':>6}")
    for name, paths in found.items():
        ends = paths.positions[np.arange(len(paths.lengths)), paths.lengths][paths.arrived]
        goals = len(np.unique(np.abs(ends[:, None] - GOALS).sum(-1).argmin(-1)))
        print(f"{name:16} {paths.returns.mean():7.1f} {paths.arrived.mean():7.0%} {goals:6}")
    if args.out:
        draw(found, args.out)


if __name__ == "__main__":
    main()
