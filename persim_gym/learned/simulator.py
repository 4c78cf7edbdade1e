"""`PerSim`: the personalised simulators of a population, fitted from recorded transitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.envs.suites import SUITES
from persim_gym.learned.adaptive import AdaptiveDynamics
from persim_gym.learned.config import Config
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.environments import shells
from persim_gym.learned.fitting.assembly import fit_parts, parts_of
from persim_gym.learned.fitting.callbacks import FitCallback
from persim_gym.learned.fitting.card import recipe_of
from persim_gym.learned.fitting.families import Setting
from persim_gym.learned.fitting.fit import fit_by
from persim_gym.learned.fitting.fit_memory import check_sizes
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.fitting.progress import reporter
from persim_gym.learned.fitting.refit import plan_from, with_past_of
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.learned.outcomes.given_reward import Reward, rewarded, without_given
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.knowledge import Known
from persim_gym.learned.preparation import as_transitions, check_device, task_for
from persim_gym.learned.saving.checkpoint import Checkpoint, discarded_where_it_diverges
from persim_gym.learned.saving.files import read_simulator, write_simulator
from persim_gym.learned.support import Experience
from persim_gym.learned.uncertainty.learn import Uncertainty
from persim_gym.offline.declared import declare
from persim_gym.offline.transitions import Transitions

if TYPE_CHECKING:
    from minari import MinariDataset

    from persim_gym.envs.parallel import SimParallelEnv
    from persim_gym.envs.vector import SimVectorEnv
    from persim_gym.evaluation.validation import Validation
    from persim_gym.learned.export.equations import Equations


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
        bounds: Mapping[Any, Any] | None = None,
        units: Mapping[Any, Any] | None = None,
        device: str = "cpu",
        out: str | Path | None = None,
        on_epoch: Callable[[FitProgress], None] | None = None,
        callbacks: Sequence[FitCallback] = (),
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
            bounds: Least and largest possible values of coordinates, ``{"ferritin": (0, None)}``:
                predictions, samples and intervals stay within. Of data of your own a coordinate of
                one sign keeps it without; see :func:`~persim_gym.offline.declare`.
            units: Units of coordinates, ``{"ferritin": "ug/L"}``, for axes and tables.
            device: ``"cpu"``, ``"cuda"`` or any other of torch's.
            out: Folder for the simulator. With it, a fit that was killed goes on from its last
                checkpoint when it is called again with the same data and options.
            on_epoch: Called after each epoch.
            callbacks: What the fit calls on its way, such as
                :class:`~persim_gym.learned.LogMetrics`.
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
        callbacks = checks.a_sequence("callbacks", callbacks)
        if any(not isinstance(callback, FitCallback) for callback in callbacks):
            raise TypeError(f"callbacks must be FitCallbacks, got {checks.shown(callbacks)}")
        transitions = declare(as_transitions(data, columns, agent_of), bounds, units)
        if task is not None and bounds:
            raise ValueError("bounds= are for data without a task: the space of task= has bounds")
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
        checkpoint = Checkpoint.of(out, recipe)
        for callback in callbacks:
            callback.on_fit_begin()
        with (
            discarded_where_it_diverges(checkpoint),
            reporter(progress, on_epoch, callbacks) as report,
        ):
            setting = Setting(torch_device, report, checkpoint, save_every)
            fitted = fit_by(checked, plan, setting)
        parts = parts_of(fitted, checked, plan.seed, recipe, torch_device)
        sim = cls.of(parts)
        if out is not None and checkpoint is not None:
            sim.save(out)
            checkpoint.discard()
        for callback in callbacks:
            callback.on_fit_end(sim)
        return sim

    def refit(self, data: Transitions, *, chosen: bool = False) -> PerSim:
        """Fit other data of the same task in the way that this simulator was fitted.

        Args:
            data: The data; their agents may be others.
            chosen: Take the family that was chosen, without comparing families again.

        Raises:
            TypeError: If ``data`` are no transitions.
            ValueError: If the data are of another task or too few, or the simulator was made by
                hand.
            FloatingPointError: If the loss diverges.
        """
        if not isinstance(data, Transitions):
            raise TypeError(f"data must be Transitions, got {checks.shown(data)}")
        chosen = checks.switch("chosen", chosen)
        known = not isinstance(self.task, DataTask)
        plan = plan_from(self.card, self.task.name, known=known, chosen=chosen)
        if chosen:
            plan = with_past_of(plan, self.card, Data(data, self.task))
        return PerSim.of(fit_parts(plan, data, self.task, str(self.device)))

    def view(self) -> PerSim:
        """The same simulators, to which agents can be added without this one's knowing.

        Nothing is copied: what is large is shared, and never changed.
        """
        return PerSim.of(self._parts, self.path)

    def to(self, device: str) -> PerSim:
        """The same simulators on a device."""
        return PerSim.of(self._parts.to(check_device(device)))

    def with_reward(self, reward: Reward | None) -> PerSim:
        """The same simulators with another reward: environments, planners and training follow.

        Args:
            reward: An expression over columns, such as ``"-abs(next.glucose - 110) - 0.1 * dose"``:
                a column's name is its value before the step, ``next.`` stands before the value
                after it, and names that are no identifiers stand in backticks. Or a function
                ``reward(obs [..., d], action [...(, a)], next_obs [..., d])`` of NumPy arrays that
                returns ``[...]``. Or ``None``: the reward that the task came with.

        Returns:
            A view, see :meth:`view`. It is saved with the expression; one with a function is not
            saved.

        Raises:
            TypeError: If it is neither, or the function fails.
            ValueError: If the expression is not allowed, with what is, or the function returns
                another shape.
        """
        task = rewarded(without_given(self.task), reward)
        return PerSim.of(replace(self._parts, task=task), self.path)

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
        from persim_gym.learned.export.equations import equations_of

        return equations_of(self, agent, digits=digits)

    def export(self, path: str | Path) -> Path:
        """Write one step as a file that does not need this package.

        ``.onnx`` and ``.pt2`` (torch) of any simulator, ``.py`` (plain NumPy code) of a closed
        form; see :func:`persim_gym.learned.export.export`.
        """
        from persim_gym.learned.export import export

        return export(self, path)

    # -- trust ---------------------------------------------------------------------------------

    def validate(self, data: Any = None, **options: Any) -> Validation:
        """How far this simulator can be trusted.

        A part of the data is kept, the rest fitted in this simulator's way, and what was kept is
        predicted beside references; see :func:`persim_gym.evaluation.validation.validate` for all
        arguments, such as ``splits=("ends", "agents")`` and ``horizons=(1, 10)``.

        Args:
            data: What it was fitted on, by default as its card names it; or other data of the same
                agents, on which it is then judged as it is.
            **options: Of that function.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is invalid, or the data are not at hand.
        """
        from persim_gym.evaluation.validation import validate

        return validate(self, data, **options)

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
        from persim_gym.learned.environments.synthetic import generate

        return generate(self, agents, policy, episodes, seed, **options)

    # -- files ---------------------------------------------------------------------------------

    def without_folders(self) -> PerSim:
        """The same for other machines: the card names files, but no folder of this one."""
        return PerSim.of(self._parts.without_folders())

    def save(self, path: str | Path) -> Path:
        """Write the simulators into a folder: ``simulator.safetensors``, whole or not at all.

        A ``simulator.json`` beside it repeats the card for readers; nothing reads it.

        Returns:
            The folder.
        """
        self.path = write_simulator(checks.output_folder("path", path), self._parts)
        return self.path

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
