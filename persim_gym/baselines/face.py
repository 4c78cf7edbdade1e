"""`Baseline`: the face that all baselines share: fit, predict, save, load."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks, store
from persim_gym.baselines import MODULES
from persim_gym.baselines.recipe import as_config, of_agent, recipe_of, with_outcomes
from persim_gym.baselines.resumable import Learner, of_part, run_blocks
from persim_gym.core import Dynamics, Task, check_task
from persim_gym.envs.suites import SUITES
from persim_gym.learned.config import Values
from persim_gym.learned.data import check_data
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.learned.preparation import as_transitions, check_device, task_for
from persim_gym.learned.saving.checkpoint import Checkpoint, discarded_where_it_diverges
from persim_gym.offline.transitions import Transitions
from persim_gym.progress import OnProgress, Report, reporter

FILE = "baseline.safetensors"


@dataclass(frozen=True, slots=True)
class Given:
    """What a baseline learns from, checked.

    Attributes:
        transitions: Of all agents, or of one.
        task: Their task.
        config: The method's configuration, settled for the task's actions.
        seed: Of weights, batches and samples.
        device: Where to compute.
        report: Called with how much is done, and of how much.
        checkpoint: Where a fit that was killed goes on from; ``None`` for nowhere.
        save_every: Seconds between checkpoints.
    """

    transitions: Transitions
    task: Task
    config: Any
    seed: int
    device: torch.device
    report: Report
    checkpoint: Checkpoint | None
    save_every: float = 30.0

    def run(self, learner: Learner, *, widths: Sequence[int], rows: int) -> None:
        """Run what is left of a fit; see :func:`~persim_gym.baselines.resumable.run_blocks`."""
        run_blocks(
            learner, self.seed, self.report, self.checkpoint, self.save_every,
            widths=widths, rows=rows, device=self.device,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Learned:
    """What a method makes of data.

    Attributes:
        tensors: All that :meth:`Baseline._prepare` needs, by name.
        facts: What a reader may want to know of the fit, as plain types and without times.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Baseline(ABC):
    """A policy learned from recorded transitions, and where there is one, the model behind it.

    A baseline is a :class:`~persim_gym.core.Policy`. Use :meth:`fit` or :meth:`load`.

    A method is a subclass with :meth:`_learn`, :meth:`_prepare` and :meth:`_act`. What is fitted
    and what is loaded go through the same constructor, so that both act alike.

    Args:
        task: Spaces, reward, termination.
        config: The method's configuration.
        tensors: What was learned.
        card: How it came about, as plain types.
        device: Where to compute.
    """

    #: The method's name, on the command line and in files in lower case.
    name: ClassVar[str]
    #: The method's configuration, of plain values.
    Config: ClassVar[type[Values]]

    def __init__(
        self,
        task: Task,
        config: Any,
        tensors: Mapping[str, Tensor],
        card: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self.task, self.config, self.device = task, config, device
        self.card = dict(card)
        # Copies: tensors that share memory cannot be written.
        self.tensors = {name: t.detach().to(device).clone() for name, t in tensors.items()}
        self._prepare()

    # -- what a method is ----------------------------------------------------------------------

    @classmethod
    def require(cls) -> None:
        """Refuse a fit, before any work, if a library that it needs is not installed.

        What is fitted is loaded and acts without.
        """
        return None

    @classmethod
    def _check(cls, data: Transitions, config: Any, known: Task | None) -> None:
        """Refuse, before any work, data that the method cannot learn from.

        Args:
            data: The data.
            config: The method's configuration.
            known: Their task, where it is not to be learned from them.
        """
        return None

    @classmethod
    @abstractmethod
    def _learn(cls, given: Given) -> Learned:
        """Learn."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make what acts (networks, for one) of ``self.tensors``."""

    @abstractmethod
    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, and the next recurrent state."""

    # -- what it knows -------------------------------------------------------------------------

    @property
    def observation_space(self) -> Box:
        """What it sees."""
        return self.task.observation_space

    @property
    def action_space(self) -> Discrete | Box:
        """What it does."""
        return self.task.action_space

    @property
    def agents(self) -> tuple[int | str, ...]:
        """The agents it was fitted on: names where the data have them, else indices."""
        return tuple(self.card["agents"])

    @property
    def dynamics(self) -> Dynamics | None:
        """The model it has learned, to plan in; ``None`` where there is none."""
        return None

    def __repr__(self) -> str:
        """Method, task and data."""
        agents = f"{len(self.agents)} agents" if len(self.agents) > 1 else f"agent {self.agents[0]}"
        return f"{type(self).__name__}({self.task.name}, {agents})"

    # -- fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        data: Any,
        config: Any = None,
        *,
        agent: int | str | None = None,
        task: Task | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
        seed: int = 0,
        device: str = "cpu",
        checkpoint: str | Path | None = None,
        save_every: float = 30.0,
        progress: bool | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> Self:
        """Learn from recorded transitions.

        Args:
            data: Whatever :meth:`persim_gym.learned.PerSim.fit` takes.
            config: The method's configuration, of ``Config``, or a mapping of some of its fields.
            agent: Learn from this agent's transitions alone: its index, or its name in the data.
                Spaces are those of all the data.
            task: By default the one that the data name, or what the data imply.
            columns: Of a table: the arguments of :func:`~persim_gym.offline.read_table`.
            agent_of: Of a Minari data set: whose each episode is. Where none says so, as in D4RL's
                data sets, all are of one agent.
            seed: Seed of all that is random.
            device: ``"cpu"``, ``"cuda"`` or any other of torch's.
            checkpoint: A folder. A fit that was killed goes on from it when it is called again
                with the same data and options, and ends with the same weights as one that was
                not. The finished baseline is saved there.
            save_every: Seconds between checkpoints.
            progress: Show a progress bar; by default where there is a terminal.
            on_progress: Called with how much is done, and of how much.
            **options: Fields of the configuration that differ from ``config`` or its defaults.

        Raises:
            FloatingPointError: If the fit diverges.
            ImportError: If the method needs a library that is not installed.
            TypeError: If an argument is of the wrong type.
            ValueError: If data or an option is invalid, the data say of no action that it is better
                than another, actions have no bounds, there is no such agent, it has no
                transitions, or ``checkpoint`` holds one of another fit.
        """
        if cls is Baseline:
            raise TypeError(f"fit one of the methods: {', '.join(MODULES)}")
        cls.require()
        settings = as_config(cls.Config, config, options)
        seed = checks.integer("seed", seed)
        save_every = checks.number("save_every", save_every, 0)
        torch_device = check_device(device)
        folder = None if checkpoint is None else checks.output_folder("checkpoint", checkpoint)
        if progress is not None:
            progress = checks.switch("progress", progress)
        if on_progress is not None and not callable(on_progress):
            raise TypeError(f"on_progress must be a function, got {checks.shown(on_progress)}")
        every = as_transitions(data, columns, agent_of, nameless=True)
        transitions = of_agent(every, agent)
        if task is None and every.task_name in SUITES:
            task = task_for(every, seed)
        cls._check(transitions, settings, task)
        if task is None:
            task = task_for(transitions, seed, every)
        else:
            check_task(task)
            check_data(transitions, task)
            transitions = with_outcomes(transitions, task)
        _check_bounds(task)
        settings = settings.settled(task) if hasattr(settings, "settled") else settings
        card = recipe_of(cls.name, settings, seed, task, transitions)
        resume = None if folder is None else Checkpoint(folder / store.CHECKPOINT, card)
        with (
            discarded_where_it_diverges(resume),
            reporter(f"fit {cls.name}", progress, on_progress) as report,
        ):
            given = Given(
                transitions, task, settings, seed, torch_device, report, resume, save_every
            )
            learned = cls._learn(given)
            if not all(bool(t.isfinite().all()) for t in learned.tensors.values()):
                raise FloatingPointError(
                    "the fit has diverged: its weights are not finite; try a smaller learning_rate"
                )
        fitted = cls(
            task, settings, learned.tensors, {**card, "facts": learned.facts}, given.device
        )
        if folder is not None and resume is not None:
            fitted.save(folder)
            resume.discard()
        return fitted

    # -- acting --------------------------------------------------------------------------------

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, or one for ``[d]``.

        Args:
            observation: One or several.
            state: What the last call returned; ``None`` at first.
            episode_start: Which rows begin an episode ``[n]``.
            deterministic: Ask for the best action, not for a sample.

        Returns:
            The actions, and what the next call is to be given.

        Raises:
            TypeError: If observations are no numbers.
            ValueError: If they have the wrong shape, or are not finite.
        """
        try:
            obs = np.asarray(observation, dtype=np.float32)
        except (TypeError, ValueError):
            shown = checks.shown(observation)
            raise TypeError(f"an observation must be numbers, got {shown}") from None
        d = self.observation_space.shape[0]
        if obs.ndim not in (1, 2) or obs.shape[-1] != d:
            raise ValueError(f"an observation must have shape ({d},) or (n, {d}), got {obs.shape}")
        if not np.isfinite(obs).all():
            raise ValueError("an observation must be finite, got one that is not")
        rows = np.atleast_2d(obs)
        starts = None if episode_start is None else np.atleast_1d(episode_start)
        actions, state = self._act(rows, state, starts, deterministic)
        return (actions if obs.ndim > 1 else actions[0]), state

    # -- files ---------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder: tensors and JSON with a checksum, whole or not at all.

        Returns:
            The folder.
        """
        folder = checks.output_folder("folder", folder)
        tensors = {f"learned.{name}": tensor for name, tensor in self.tensors.items()}
        if isinstance(self.task, DataTask):
            tensors |= {f"task.{name}": t for name, t in self.task.tensors().items()}
        store.write(folder / FILE, "baseline", tensors, self.card, beside=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path, *, task: Task | None = None, device: str = "cpu") -> Self:
        """Read what :meth:`save` has written; ``Baseline.load`` reads that of any method.

        Args:
            folder: The folder, or the file in it.
            task: The task, where it is neither this package's nor learned from the data.
            device: Where to compute.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If the file is truncated, altered, foreign or of another method.
        """
        path = checks.as_path("folder", folder)
        file = path if path.suffix == ".safetensors" else path / FILE
        torch_device = check_device(device)
        tensors, card = store.read(file, "baseline")
        found = method_class(str(card.get("method")), f"{file} holds")
        if not issubclass(found, cls):
            raise ValueError(f"{file} holds {found.name}, not {cls.name}: use Baseline.load")
        try:
            own = task or _task_in(card, of_part(tensors, "task"))
            config = found.Config.from_json(card["config"])
            for key in ("format", "version", "kind"):
                card.pop(key, None)
            return found(own, config, of_part(tensors, "learned"), card, torch_device)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
            raise ValueError(f"{file} lacks what a baseline needs: {error}") from None


def method_class(name: str, says: str = "got") -> Any:
    """The class of a baseline's name, upper or lower case.

    Raises:
        ValueError: If there is none, with the names there are.
    """
    known = {own.lower(): own for own in MODULES}
    if name.lower() not in known:
        hint = checks.meant(name, known)
        raise ValueError(f"unknown baseline: {says} {name!r}{hint}, there are {', '.join(known)}")
    own = known[name.lower()]
    return getattr(importlib.import_module(MODULES[own]), own)


def _check_bounds(task: Task) -> None:
    """Refuse actions without bounds: networks see their range as -1 to 1, and planners search it.

    Raises:
        ValueError: If they have none.
    """
    space = task.action_space
    if isinstance(space, Box) and not space.is_bounded():
        raise ValueError(
            f"task {task.name!r} has actions without bounds: give a task whose action_space has "
            f"them, got {space}"
        )


def _task_in(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Task:
    """The task of a file.

    Raises:
        ValueError: If it is neither this package's nor in the file.
    """
    if tensors:
        return DataTask.from_parts(tensors, card["data_task"])
    if card["task"] not in SUITES:
        raise ValueError(f"its task {card['task']!r} is not in the file: give task=")
    return SUITES[card["task"]].task()
