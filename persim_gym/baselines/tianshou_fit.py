"""The loop around tianshou's algorithms: batches from tensors, in blocks that can be resumed."""

from __future__ import annotations

import importlib.util
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from persim_gym.baselines.face import Baseline, Given, Learned
from persim_gym.baselines.networks import Rows, Units
from persim_gym.baselines.recipe import check_choice
from persim_gym.baselines.resumable import (
    block_seed,
    module_tensors,
    of_part,
    optimiser_tensors,
    restore_optimiser,
)
from persim_gym.core import Task
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.randomness import global_seed

if TYPE_CHECKING:
    from tianshou.algorithm.algorithm_base import Algorithm

#: Updates of a block: a fit can be resumed after each.
BLOCK = 250


def need_tianshou(name: str) -> None:
    """Check that tianshou is there.

    Raises:
        ImportError: If it is not.
    """
    if importlib.util.find_spec("tianshou") is None:
        raise ImportError(
            f"{name} is fitted by tianshou, which is not installed: pip install "
            "'persim-gym[baselines]'"
        )


class OfflineLearner:
    """An algorithm of tianshou, learning from a table of transitions.

    Args:
        make: Makes the algorithm; torch's global generator is seeded for its weights.
        given: What it learns from.
        units: In which units.
        bootstrap: The values of next observations are estimated here, by the algorithm's
            ``_target_q``, and not in its own update.
    """

    def __init__(
        self, make: Callable[[], Algorithm[Any, Any]], given: Given, units: Units, bootstrap: bool
    ) -> None:
        self._config, self._bootstrap = given.config, bootstrap
        self._rows = Rows.of(given.transitions, given.task, units, given.device)
        with global_seed(block_seed(given.seed, 0)), warnings.catch_warnings():
            self.algorithm: Any = make().to(given.device)  # tianshou sets warning filters

    @property
    def blocks(self) -> int:
        """How many blocks a fit has."""
        return -(-self._config.updates // BLOCK)

    def train(self, block: int) -> None:
        """Update for one block."""
        from tianshou.data import Batch

        algorithm, size = self.algorithm, self._config.batch_size
        with warnings.catch_warnings():
            # Quantiles are compared with all others by broadcasting, on purpose.
            warnings.filterwarnings("ignore", message="Using a target size")
            for _ in range(min(BLOCK, self._config.updates - block * BLOCK)):
                obs, action, next_obs, reward, done = self._rows.drawn(size)
                batch = Batch(
                    obs=obs, act=action, obs_next=next_obs, rew=reward, done=done, info=Batch()
                )
                if self._bootstrap:
                    with torch.no_grad():
                        target = algorithm._target_q(_Buffer(batch), range(size))
                    ahead = self._config.discount * (1 - done)
                    target = target.reshape(size, -1)
                    batch.returns = reward[:, None] + ahead[:, None] * target
                algorithm._update_with_batch(batch)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimisers' state."""
        found = module_tensors(self.algorithm, "module")
        for number, optimiser in enumerate(self._optimisers()):
            found |= optimiser_tensors(optimiser, f"optimiser-{number}")
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        nn.Module.load_state_dict(self.algorithm, of_part(tensors, "module"))
        for number, optimiser in enumerate(self._optimisers()):
            restore_optimiser(optimiser, tensors, f"optimiser-{number}")

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        own = [wrapped._optim for wrapped in self.algorithm._optimizers]
        alpha = getattr(self.algorithm, "alpha", None)
        return own if alpha is None else [*own, alpha._optim]


class _Buffer:
    """One batch, as a replay buffer whose rows are all asked for."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getitem__(self, rows: Any) -> Any:
        return self._batch


def unit_box(given: Given) -> Box:
    """Actions of -1 to 1, as networks see them."""
    return Box(-1.0, 1.0, (int(given.task.action_space.shape[0]),))  # type: ignore[index]


def learn_offline(
    make: Callable[[], Algorithm[Any, Any]], given: Given, units: Units, *, bootstrap: bool
) -> OfflineLearner:
    """Run a fit to its end; arguments as of :class:`OfflineLearner`.

    Raises:
        ValueError: If its checkpoint is damaged or of another fit.
    """
    learner = OfflineLearner(make, given, units, bootstrap)
    hidden = [*given.config.hidden, getattr(given.config, "behaviour_hidden", 0)]
    given.run(learner, widths=hidden, rows=given.config.batch_size)
    return learner


#: What is fitted to data in given units: tensors by name.
Fit: TypeAlias = "Callable[[Given, Units], dict[str, Tensor]]"


class OfflineBaseline(Baseline):
    """A method that tianshou fits: one algorithm for discrete actions, another for others."""

    @classmethod
    @abstractmethod
    def _fits(cls) -> tuple[Fit, Fit]:
        """What fits where actions are discrete, and where they are continuous."""

    @classmethod
    def require(cls) -> None:
        """Refuse a fit without tianshou.

        Raises:
            ImportError: If it is not installed.
        """
        need_tianshou(cls.name)

    @classmethod
    def _check(cls, data: Transitions, config: Any, known: Task | None) -> None:
        check_choice(cls.name, data, known)

    @classmethod
    def _learn(cls, given: Given) -> Learned:
        units = Units.measured(given.transitions, given.task)
        discrete, continuous = cls._fits()
        fit = discrete if isinstance(given.task.action_space, Discrete) else continuous
        return Learned({**units.tensors(), **fit(given, units)}, {})
