"""Train one policy with Stable-Baselines3 in the true environment until it earns its target.

Training goes in sections of equal length. Before each, everything random is seeded anew and the
environments begin anew; checkpoints are written in between. A training that was interrupted goes
on from the last one and takes the very steps that it would have taken.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks, files, store
from persim_gym.core import Dynamics
from persim_gym.envs.populations import Population
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.policies.randomness import global_randomness_kept
from persim_gym.policies.recipes import Recipe
from persim_gym.policies.saved import SavedPolicy, extract_policy, load_policy, write_policy
from persim_gym.rollout import play_returns
from persim_gym.threads import few_threads

#: Episodes of the return in a policy's card, and the seed of their starts.
CARD_EPISODES, CARD_SEED = 100, 0


@dataclass
class TrainingProgress:
    """How far a training is.

    Attributes:
        steps: Environment steps so far.
        max_steps: Steps at which it gives up.
        mean: Mean return of the last evaluation; NaN before there is one.
        target: The return at which it stops.
    """

    steps: int
    max_steps: int
    mean: float
    target: float


@dataclass
class _State:
    """What a training knows beside the model."""

    seconds: float = 0.0
    evaluations: list[list[float]] = field(default_factory=list)
    nearest: float = float("inf")
    nearest_steps: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


def train_policy(
    recipe: Recipe,
    folder: str | Path,
    *,
    seed: int | None = None,
    max_steps: int | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    checkpoint_every: float = 60.0,
) -> SavedPolicy:
    """Train until an evaluation's mean return is within the recipe's band, and write the policy.

    If none was in the band when ``max_steps`` are over, the policy of the evaluation nearest to the
    target is taken, and its card says so. A training that was interrupted goes on: beside the
    policy's file there is a checkpoint while it runs. A policy that is there already is read.

    Python's, NumPy's and torch's global random states are as before when this returns.

    Args:
        recipe: How.
        folder: Where the policy goes: ``<folder>/<task>/<name>.safetensors``.
        seed: Seed of everything random; the recipe's if not given.
        max_steps: Other than the recipe's.
        on_progress: Called after each evaluation.
        checkpoint_every: Seconds from one checkpoint to the next.

    Returns:
        The policy, with its card.

    Raises:
        TypeError: If ``seed`` or ``max_steps`` is no integer.
        ValueError: If one is too small, or the folder holds this policy made in another way.
    """
    seed = recipe.seed if seed is None else seed
    if (file := check_out(recipe, folder, seed, max_steps)).is_file():
        return load_policy(file)
    limit = recipe.max_steps if max_steps is None else max_steps
    checkpoint = _checkpoint(file)
    with global_randomness_kept(), few_threads(1, (1,), torch.device("cpu")):
        run = _Run(recipe, seed)
        if checkpoint.is_file():
            run.restore(checkpoint)
        saved = time.monotonic()

        def tell() -> None:
            if on_progress is not None:
                mean = run.state.evaluations[-1][1] if run.state.evaluations else math.nan
                on_progress(TrainingProgress(run.steps, limit, mean, recipe.target))

        while not run.done(limit):
            run.section(limit, tell)
            if time.monotonic() - saved >= checkpoint_every:
                run.save(checkpoint)
                saved = time.monotonic()
        if not run.state.evaluations:
            run.evaluate()
        policy = run.finish(limit)
    write_policy(policy, file)
    checkpoint.unlink(missing_ok=True)
    files.sweep(checkpoint)
    return policy


def check_out(
    recipe: Recipe, folder: str | Path, seed: int | None = None, max_steps: int | None = None
) -> Path:
    """Check that a policy can be trained into a folder, before any work.

    Returns:
        The policy's file.

    Raises:
        TypeError: If ``seed`` or ``max_steps`` is no integer.
        ValueError: If one is too small, or the folder holds this policy, or a checkpoint of it,
            made in another way.
    """
    seed = recipe.seed if seed is None else seed
    limit = recipe.max_steps if max_steps is None else max_steps
    checks.integer("seed", seed, most=checks.LARGEST_SEED)
    checks.integer("max_steps", limit, 1)
    file = checks.output_folder("folder", folder) / recipe.task / f"{recipe.name}.safetensors"
    if file.is_file():
        card = load_policy(file).card
        same = card.get("recipe") == _identity(recipe, seed)
        if not same or not (card.get("reached") or card.get("max_steps") == limit):
            raise ValueError(
                f"{file} is there already, made with another seed, settings or number of steps: "
                "give another folder, or delete it"
            )
    elif _checkpoint(file).is_file():
        _, card = store.read(_checkpoint(file), CHECKPOINT)
        if card.get("recipe") != _identity(recipe, seed):
            raise ValueError(
                f"{_checkpoint(file)} belongs to a training with other settings or another seed: "
                "give the same, another folder, or delete it"
            )
    return file


CHECKPOINT = "policy's checkpoint"


def _checkpoint(file: Path) -> Path:
    return file.with_name(f"{file.stem}.checkpoint.safetensors")


def _identity(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a training depends on, in plain types."""
    plain = dataclasses.asdict(recipe)
    del plain["max_steps"]
    if recipe.first_on is None:
        del plain["first_on"]
    named = {_IN_FILES.get(name, name): value for name, value in plain.items()}
    return {**json.loads(json.dumps(named)), "seed": int(seed)}


#: What fields of a recipe are called in the files of policies, those that ship among them.
_IN_FILES = {
    "section_steps": "leg_steps",
    "evaluate_every": "look_every",
    "evaluation_episodes": "look_episodes",
}


class _Run:
    """A model in training."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        from persim_gym.envs.sb3 import to_sb3

        self.recipe, self.seed = recipe, seed
        suite = find_suite(recipe.task)
        self.task, self.dynamics = suite.task(), _world(suite, recipe.covariates)
        first = None if recipe.first_on is None else _world(suite, recipe.first_on[0])
        self._envs, self._first_envs = (
            None if d is None else to_sb3(SimVectorEnv(self.task, d, recipe.lanes, agents=0))
            for d in (self.dynamics, first)
        )
        self.model = _make(recipe, self._envs, seed)
        self.state = _State()

    @property
    def steps(self) -> int:
        return int(self.model.num_timesteps)

    @property
    def beginning(self) -> int:
        """Steps that are still to be taken on the covariates of the beginning."""
        first = self.recipe.first_on
        return 0 if first is None else max(0, first[1] - self.steps)

    def done(self, max_steps: int) -> bool:
        return self.state.nearest <= self.recipe.band or self.steps >= max_steps

    def section(self, max_steps: int, on_evaluation: Callable[[], None] | None = None) -> None:
        """Train for a section, evaluating on the way, and stop where the target is reached."""
        from stable_baselines3.common.callbacks import BaseCallback

        run, began = self, time.monotonic()

        class Evaluations(BaseCallback):
            def _on_step(self) -> bool:
                if run.steps % run.recipe.evaluate_every < run.recipe.lanes:
                    if run.beginning == 0:
                        run.evaluate()
                    if on_evaluation is not None:
                        on_evaluation()
                return not run.done(max_steps)

        length, envs = self.recipe.section_steps, self._envs
        if self.beginning > 0:
            length, envs = min(length, self.beginning), self._first_envs
        # A new beginning of episodes and of everything random, of which the past is no part.
        self.model.set_env(envs)
        self.model.set_random_seed(int(self._words()[0] % 2**31))
        self.model.learn(
            length, callback=Evaluations(), reset_num_timesteps=False, log_interval=None
        )
        # The episodes that are broken off here are no part of those that begin next: sums over
        # several steps must not go on into them.
        buffer = self.model.replay_buffer
        last = buffer.pos - 1
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], buffer.dones[last] == 0)
        self.state.seconds += time.monotonic() - began

    def evaluate(self) -> None:
        """Play some episodes, and remember the policy if none before was nearer to the target."""
        policy, target, words = extract_policy(self.model), self.recipe.target, self._words()
        returns = self._returns(policy, self.recipe.evaluation_episodes, words[1])
        off = abs(float(returns.mean()) - target)
        if off <= self.recipe.band:
            # A few episodes may have been lucky or unlucky.
            returns = self._returns(policy, CARD_EPISODES, words[2])
            off = abs(float(returns.mean()) - target)
        state = self.state
        state.evaluations.append([self.steps, float(returns.mean())])
        if off < state.nearest:
            state.nearest, state.nearest_steps = off, self.steps
            weights = self.model.policy.state_dict()
            state.weights = {name: value.clone() for name, value in weights.items()}

    def _words(self) -> list[int]:
        return np.random.SeedSequence([self.seed, self.steps]).generate_state(3).tolist()

    def _returns(self, policy: SavedPolicy, episodes: int, seed: int) -> NDArray[np.float64]:
        agents = np.zeros(episodes, dtype=np.int64)
        return play_returns(self.task, self.dynamics, policy, agents, seed)

    def finish(self, max_steps: int) -> SavedPolicy:
        """The policy of the evaluation nearest to the target, with its card."""
        recipe, state = self.recipe, self.state
        self.model.policy.load_state_dict(state.weights)
        policy = extract_policy(self.model)
        returns = self._returns(policy, CARD_EPISODES, CARD_SEED)
        policy.card.update(
            task=recipe.task,
            name=recipe.name,
            covariates=dict(recipe.covariates),
            algorithm=recipe.algorithm,
            steps=state.nearest_steps,
            max_steps=max_steps,
            seed=self.seed,
            seconds=round(state.seconds),
            target=recipe.target,
            reached=state.nearest <= recipe.band,
            mean_return=round(float(returns.mean()), 2),
            sd_return=round(float(returns.std(ddof=1)), 2),
            episodes=CARD_EPISODES,
            recipe=_identity(recipe, self.seed),
        )
        return policy

    # -- checkpoints -------------------------------------------------------------------------------

    def save(self, file: Path) -> None:
        """Write all that the rest of the training depends on."""
        tensors = {f"policy/{k}": v for k, v in self.model.policy.state_dict().items()}
        tensors |= {f"nearest/{k}": v for k, v in self.state.weights.items()}
        for o, optimizer in enumerate(self._optimizers()):
            for p, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{o}/{p}/{k}": v for k, v in values.items()}
        buffer = self.model.replay_buffer
        filled = buffer.buffer_size if buffer.full else buffer.pos
        for name in _BUFFER:
            tensors[f"buffer/{name}"] = torch.from_numpy(getattr(buffer, name)[:filled].copy())
        card = {
            "recipe": _identity(self.recipe, self.seed),
            "steps": self.steps,
            "updates": int(self.model._n_updates),
            "calls": int(getattr(self.model, "_n_calls", 0)),
            "buffer": {"position": int(buffer.pos), "full": bool(buffer.full)},
            "seconds": self.state.seconds,
            "looks": self.state.evaluations,
            "nearest": self.state.nearest,
            "nearest_steps": self.state.nearest_steps,
        }
        store.write(file, CHECKPOINT, tensors, card)

    def restore(self, file: Path) -> None:
        """Go on where :meth:`save` was called.

        Raises:
            ValueError: If it is no checkpoint, or damaged.
        """
        tensors, card = store.read(file, CHECKPOINT)
        model = self.model
        model.policy.load_state_dict(_part(tensors, "policy/"))
        for o, optimizer in enumerate(self._optimizers()):
            plain = optimizer.state_dict()
            plain["state"] = {}
            for name, value in _part(tensors, f"optimizer/{o}/").items():
                parameter, key = name.split("/")
                plain["state"].setdefault(int(parameter), {})[key] = value
            optimizer.load_state_dict(plain)
        buffer = model.replay_buffer
        for name in _BUFFER:
            values = tensors[f"buffer/{name}"].numpy()
            getattr(buffer, name)[: len(values)] = values
        buffer.pos, buffer.full = card["buffer"]["position"], card["buffer"]["full"]
        model.num_timesteps, model._n_updates = card["steps"], card["updates"]
        if hasattr(model, "_n_calls"):
            model._n_calls = card["calls"]
            model.exploration_rate = model.exploration_schedule(0.0)
        self.state = _State(
            seconds=card["seconds"],
            evaluations=card["looks"],
            nearest=card["nearest"],
            nearest_steps=card["nearest_steps"],
            weights=_part(tensors, "nearest/"),
        )

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        policy = self.model.policy
        if self.recipe.algorithm == "dqn":
            return [policy.optimizer]
        return [policy.actor.optimizer, policy.critic.optimizer]


_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _world(suite: Suite, covariates: Mapping[str, float]) -> Dynamics:
    return suite.dynamics(Population.single(suite.covariates, covariates))


def _make(recipe: Recipe, envs: Any, seed: int) -> Any:
    import stable_baselines3
    from stable_baselines3.common.noise import NormalActionNoise

    # A copy: Stable-Baselines3 writes into the dictionaries that it is given.
    settings = copy.deepcopy(dict(recipe.settings))
    if recipe.algorithm == "td3":
        (sd,) = recipe.exploration
        a = envs.action_space.shape
        settings["action_noise"] = NormalActionNoise(np.zeros(a), np.full(a, sd))
    make = getattr(stable_baselines3, recipe.algorithm.upper())
    model = make("MlpPolicy", envs, seed=seed, device="cpu", **settings)
    if recipe.algorithm == "dqn":
        first, last, over = recipe.exploration
        # Stable-Baselines3's own schedule goes by the length of the call to learn().
        model.exploration_schedule = lambda _: (
            first + (last - first) * min(1.0, model.num_timesteps / over)
        )
    return model
