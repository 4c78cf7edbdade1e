"""`PerSim`: the personalised simulators of a population, fitted from recorded transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.envs.suites import SUITES
from persim_gym.learned import shells
from persim_gym.learned.adaptive import AdaptiveDynamics
from persim_gym.learned.card import card_of, recipe_of
from persim_gym.learned.config import Config, plan_fit
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.experience import Experience
from persim_gym.learned.families import Fitted, Setting
from persim_gym.learned.files import read_simulator, simulator_sha256, write_simulator
from persim_gym.learned.fit import checkpoint_in, fit_by, record_of
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.calibration import disagreement_limit, learn_knowledge
from persim_gym.learned.posterior.knowledge import Known
from persim_gym.learned.preparation import Data, as_transitions, check_device, task_for
from persim_gym.learned.progress import reporter
from persim_gym.learned.sizes import check_sizes
from persim_gym.learned.uncertainty.learn import Uncertainty, learn_uncertainty

if TYPE_CHECKING:
    from minari import MinariDataset

    from persim_gym.envs.parallel import SimParallelEnv
    from persim_gym.envs.vector import SimVectorEnv
    from persim_gym.learned.equations import Equations


class PerSim(AdaptiveDynamics):
    """Personalised simulators of all agents of a population.

    A simulator is a :class:`~persim_gym.core.Dynamics`: environments and planners take it as they
    take true physics. All methods accept arrays or tensors and return the kind they were given.

    Use :meth:`fit` or :meth:`load`; the constructor is for code that fits models in its own way.

    Args:
        ensemble: The fitted members.
        task: Reward, termination, spaces and start states.
        experience: What is remembered of the data.
        card: How it came about: configuration, data set, metrics; plain types.
        knowledge: The population as a prior, and what is known of each agent: what new agents
            need.
        uncertainty: Noise, and what predictive intervals are made of.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        task: Task,
        experience: Experience,
        card: dict[str, Any],
        knowledge: Known = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        super().__init__(Parts(ensemble, task, experience, card, knowledge, uncertainty))
        self.path: Path | None = None

    @classmethod
    def of(cls, parts: Parts, path: Path | None = None) -> PerSim:
        """The simulator of parts, and where it is kept."""
        known = parts.knowledge, parts.uncertainty
        sim = cls(parts.ensemble, parts.task, parts.experience, parts.card, *known)
        sim.path = path
        return sim

    # -- fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        data: Any,
        config: Config | None = None,
        *,
        method: str = "auto",
        preset: str = "default",
        task: Task | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
        device: str = "cpu",
        out: str | Path | None = None,
        on_epoch: Callable[[FitProgress], None] | None = None,
        progress: bool | None = None,
        save_every: float = 30.0,
        **options: Any,
    ) -> PerSim:
        """Fit the simulators of all agents of a data set.

        Args:
            data: :class:`~persim_gym.offline.Transitions`; a Minari data set, its id or folder; or
                a table: a ``.parquet`` or ``.csv`` file or a DataFrame, with ``columns``.
            config: Configuration of one family, which then decides everything:
                :class:`~persim_gym.learned.ClosedForm`, :class:`~persim_gym.learned.Networks`,
                :class:`~persim_gym.learned.Hierarchical` or :class:`~persim_gym.learned.Latent`.
            method: ``"als"`` (closed form, in a polynomial basis), ``"sgd"`` (the paper's
                networks), ``"hierarchical"`` (each agent's own polynomial under a population's
                prior), ``"latent"`` (networks that an agent's latent enters nonlinearly) or
                ``"auto"``: the closed form where it finds the law, else the family, or the mixture
                of families, that predicts held-out stretches best.
            preset: Of the paper's networks: ``"default"`` or ``"paper"`` (the settings of the
                paper's code).
            task: The task; by default the one that the data name, or else a
                :class:`~persim_gym.learned.DataTask`: spaces and start states from the data, reward
                and termination learned from them.
            columns: Of a table: the arguments of :func:`~persim_gym.offline.read_table`, such as
                ``{"agent": "patient", "time": "minute", "state": [...], "action": [...]}``.
            agent_of: Of a Minari data set: whose each episode is, as in
                :func:`~persim_gym.offline.read_transitions`.
            device: ``"cpu"``, ``"cuda"`` or any other of torch's.
            out: Folder for the simulator. With it, a fit that was killed goes on from its last
                checkpoint when it is called again with the same data and options.
            on_epoch: Told of each epoch.
            progress: Show a progress bar; by default where there is a terminal.
            save_every: Seconds between checkpoints.
            **options: Fields of the configurations that differ from their defaults, such as
                ``ensemble_size=5, seed=1``; one that a single family has, such as ``degree=3`` or
                ``epochs=100``, chooses it.

        Raises:
            ValueError: If data, preset or an option is invalid, or ``out`` holds a checkpoint of
                another fit.
            FloatingPointError: If the loss diverges.
        """
        if out is not None:
            out = checks.output_folder("out", out)
        save_every = checks.number("save_every", save_every, 0)
        if progress is not None:
            progress = checks.switch("progress", progress)
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(f"on_epoch must be a function, got {checks.shown(on_epoch)}")
        transitions = as_transitions(data, columns, agent_of)
        name = transitions.task_name if task is None else task.name
        plan = plan_fit(
            name, config=config, method=method, preset=preset, options=options,
            known=name in SUITES or task is not None,
        )  # fmt: skip
        torch_device = check_device(device)
        if task is None:
            task = task_for(transitions, plan.seed)
        checked = Data(transitions, task)
        check_sizes(plan, transitions, task)
        recipe = recipe_of(plan, preset, task, transitions)
        checkpoint = checkpoint_in(out, recipe)
        with reporter(progress, on_epoch) as report:
            setting = Setting(torch_device, report, checkpoint, save_every)
            fitted = fit_by(checked, plan, setting)
        parts = _parts(fitted, checked, plan.seed, recipe, torch_device)
        sim = cls.of(parts)
        if out is not None and checkpoint is not None:
            sim.save(out)
            checkpoint.discard()
        return sim

    def view(self) -> PerSim:
        """The same simulators, to which agents can be added without this one's knowing.

        Nothing is copied: what is large is shared, and never changed.
        """
        return PerSim.of(self._parts, self.path)

    def to(self, device: str) -> PerSim:
        """The same simulators on a device."""
        return PerSim.of(self._parts.to(check_device(device)))

    def equations(self, agent: int | str | None = None, digits: int = 4) -> Equations:
        """A fit in closed form, or a hierarchical regression, as equations.

        What is returned prints as text, and has ``expressions`` of SymPy, ``latex()`` and
        ``lambdify()``, a NumPy function.

        Args:
            agent: Whose; ``None`` for the population's: with factors as symbols in closed form,
                else of its mean.
            digits: Significant digits that are shown.

        Raises:
            TypeError: If the model is no polynomial.
            ValueError: If there is no such agent, or nothing was recorded of it.
        """
        from persim_gym.learned.equations import equations_of

        return equations_of(self, agent, digits=digits)

    # -- environments --------------------------------------------------------------------------

    def env(self, agent: int | str | None = None, **options: Any) -> shells.LearnedSimEnv:
        """One agent's simulator as a Gymnasium environment; see :class:`LearnedSimEnv`."""
        return shells.LearnedSimEnv(self, agent, **options)

    def vector_env(
        self,
        num_envs: int,
        agents: int | str | Sequence[int | str] | None = None,
        **options: Any,
    ) -> SimVectorEnv:
        """Many lanes of simulators as a vector environment; options of :class:`LearnedSimEnv`."""
        return shells.vector_env(self, num_envs, agents, **options)

    def parallel_env(self, agents: Sequence[int | str], **options: Any) -> SimParallelEnv:
        """Several agents' simulators as a PettingZoo environment."""
        return shells.parallel_env(self, agents, **options)

    def generate(
        self,
        agents: Sequence[int | str] | None = None,
        policy: Any = "random",
        episodes: int = 1,
        seed: int = 0,
        **options: Any,
    ) -> MinariDataset:
        """Record episodes in the simulators, as a Minari data set that says it is synthetic.

        All agents and episodes run side by side. The data set's card and description say that it
        is synthetic, by which simulator (its hash) and of which data; the agent stands in each
        episode's reset options, and in each step's infos the disagreement and the guard's reason.

        Args:
            agents: Different agents, by index or name; by default all that were recorded.
            policy: The name of a behaviour, a function of observations ``[n, d]``, or anything
                with ``predict``, such as an :class:`~persim_gym.planning.MPC`.
            episodes: Episodes of each agent.
            seed: Seed of start states, of behaviour and of what the simulator draws.
            **options: ``dataset_id`` (by default ``"persim/synthetic/<task>-<behaviour>-v0"``),
                ``propagation`` and ``guard`` (see :class:`LearnedSimEnv`), and
                ``max_episode_steps``, ``deterministic``, ``overwrite``, ``data_format``,
                ``on_progress`` and ``progress`` as of :func:`persim_gym.offline.record`.

        Returns:
            The data set; episodes are in the order of ``agents``, an agent's one after the other.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is invalid, or the data set exists.
        """
        from persim_gym.learned.synthetic import generate

        return generate(self, agents, policy, episodes, seed, **options)

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the simulators into a folder: ``simulator.safetensors``, whole or not at all.

        A ``simulator.json`` beside it repeats the card for readers; nothing reads it.

        Returns:
            The folder.
        """
        self.path = write_simulator(checks.output_folder("path", path), self._parts)
        return self.path

    @property
    def sha256(self) -> str:
        """The hash that its file has, or would have: equal simulators have equal ones."""
        return simulator_sha256(self._parts)

    @classmethod
    def load(cls, path: str | Path, *, task: Task | None = None, device: str = "cpu") -> PerSim:
        """Read simulators that :meth:`save` has written.

        Args:
            path: The folder, or the file in it.
            task: The task, if it is none of this package's.
            device: Where to compute.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If the file is truncated, altered, foreign or of a newer format.
        """
        path = checks.as_path("path", path)
        to = check_device(device)
        return cls.of(read_simulator(path, task).to(to), path)

    def __repr__(self) -> str:
        """A short description."""
        e = self.ensemble
        return (
            f"PerSim(task={self.task.name!r}, agents={e.num_agents}, rank={e.rank}, "
            f"members={e.members}, device={str(self.device)!r})"
        )


def _parts(
    fitted: Fitted, data: Data, seed: int, recipe: dict[str, Any], device: torch.device
) -> Parts:
    """What a fit has found as the parts of a simulator: support and posterior with the rest."""
    ensemble = fitted.ensemble.to(device)
    card = recipe | card_of(fitted, data.task, data.transitions)
    known = learn_knowledge(ensemble, data, fitted.noise, seed)
    experience = data.experience(ensemble.lag, ensemble.past)
    record = record_of(data, ensemble.lag)
    learned = learn_uncertainty(ensemble, data, record, fitted.unseen, seed)
    if learned is not None:
        card["metrics"]["estimated_noise"] = learned.noise.to_json()
    parts = Parts(ensemble, data.task, experience, card, known, learned)
    if ensemble.members > 1:
        disagreement = LearnedDynamics(parts).disagreement
        limit = disagreement_limit(disagreement, data.transitions, ensemble.lag, ensemble.past)
        parts = replace(parts, experience=replace(experience, disagreement_limit=limit))
    return parts
