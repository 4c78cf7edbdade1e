"""`PerSim`: the personalised simulators of a population, fitted from recorded transitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array, Task, as_agents
from persim_gym.envs.suites import SUITES
from persim_gym.learned.card import card_of, recipe_of
from persim_gym.learned.config import Config, plan_fit
from persim_gym.learned.ensemble import Ensemble, UnrollMode
from persim_gym.learned.families import Setting
from persim_gym.learned.files import read_simulator, write_simulator
from persim_gym.learned.fit import checkpoint_in, fit_by, record_of
from persim_gym.learned.history import beginning, coded, moved, remembered, slots
from persim_gym.learned.inputs import check_inputs
from persim_gym.learned.naming import AgentIndex, AgentNames
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.posterior import adaptation
from persim_gym.learned.posterior.adaptation import AgentPosterior, Knowledge
from persim_gym.learned.posterior.calibration import disagreement_limit, learn_knowledge
from persim_gym.learned.posterior.covariate_map import CovariateMap
from persim_gym.learned.posterior.prior import FactorModel, FactorPrior
from persim_gym.learned.preparation import (
    Data,
    Experience,
    as_transitions,
    check_device,
    task_for,
)
from persim_gym.learned.progress import reporter
from persim_gym.learned.sizes import check_sizes
from persim_gym.learned.uncertainty import Uncertainty, learn_uncertainty, sampled_rollout

if TYPE_CHECKING:
    from collections.abc import Generator

    from persim_gym.envs.parallel import SimParallelEnv
    from persim_gym.envs.vector import SimVectorEnv
    from persim_gym.learned.closed_form.equations import Equations
    from persim_gym.learned.env import LearnedSimEnv
    from persim_gym.offline.transitions import Transitions


#: Rows of numbers that are no tensors: what is computed of them is an array.
Rows: TypeAlias = "NDArray[Any] | Sequence[Any]"

#: Rows that go through the network together, by kind of device.
ROWS_AT_ONCE = {"cpu": 1024, "cuda": 65_536}


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    """Distances ``[n, k]``; not by a matrix product, so that they do not depend on ``n``."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


class PerSim:
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
        knowledge: Knowledge | None = None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        self.ensemble = ensemble
        self._uncertainty = uncertainty
        self.task = task
        self.experience = experience
        self.card = card
        self.path: Path | None = None
        self._knowledge = knowledge
        self.rename(card.get("agent_names"))
        self._change_scale = torch.as_tensor(experience.change_scale, device=ensemble.device)

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
        card = recipe | card_of(fitted, task, transitions)
        ensemble = fitted.ensemble.to(torch_device)
        known = None
        if ensemble.linear:
            known = learn_knowledge(ensemble, checked, fitted.noise, plan.seed)
        experience = checked.experience(ensemble.lag, ensemble.past)
        record = record_of(checked, ensemble.lag)
        learned = learn_uncertainty(ensemble, checked, record, fitted.unseen, plan.seed)
        if learned is not None:
            card["metrics"]["estimated_noise"] = learned.noise.to_json()
        sim = cls(ensemble, task, experience, card, known, learned)
        if sim.members > 1:
            limit = disagreement_limit(sim.disagreement, transitions, sim.lag, ensemble.past)
            sim.experience = dataclasses.replace(sim.experience, disagreement_limit=limit)
        if out is not None and checkpoint is not None:
            sim.save(out)
            checkpoint.discard()
        return sim

    # -- prediction ----------------------------------------------------------------------------

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return self.ensemble.num_agents

    @property
    def agent_names(self) -> tuple[str, ...] | None:
        """What the agents are called in the data ``[N]``; ``None`` where they are numbers."""
        names = self.card.get("agent_names")
        return tuple(names) if names else None

    @property
    def names(self) -> AgentNames:
        """Who is called what: finds agents by name and by index, on the command line as well."""
        return self._names

    def agent_index(self, agent: object) -> AgentIndex:
        """The index of an agent: text is its name in the data, an integer its index.

        Where names are whole numbers, ``"name:3"`` and ``"index:3"`` say which is meant. What is
        returned is an integer that every face takes for an index.

        Raises:
            TypeError: If it is neither text nor an integer.
            ValueError: If there is no such agent, or an integer could be one of two.
        """
        return self._names.find(agent)

    def agent_indices(self, agents: Any) -> Any:
        """Agents as indices: of one, a sequence, or ``None`` as it came.

        Arrays of integers are indices, as they are in transitions.
        """
        return self._names.find_all(agents)

    def rename(self, names: Sequence[str] | None) -> None:
        """Take names of all agents ``[N]``, or none, and look anew at who has been seen."""
        self.card = {**self.card, "agent_names": list(names)} if names else self.card
        self._names = AgentNames(names or (), self.num_agents)
        self._all_seen = self.experience.seen is None or bool(self.experience.seen.all())

    def check_seen(self, agents: NDArray[np.int64]) -> None:
        """Refuse agents of whom there were no transitions: nothing personal is known of them.

        Raises:
            ValueError: If there is one among ``agents`` ``[n]``.
        """
        if self._all_seen:
            return
        seen = self.experience.seen
        assert seen is not None
        unseen = agents[~seen[agents]]
        if len(unseen):
            raise ValueError(
                f"there were no transitions of agent {unseen[0]}: this simulator knows "
                f"{int(seen.sum())} of {len(seen)} agents; record a trajectory of it and fit again"
            )

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.ensemble.lag

    @property
    def members(self) -> int:
        """Number of ensemble members ``m``."""
        return self.ensemble.members

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.ensemble.device

    @property
    def latent_factors(self) -> NDArray[np.float32]:
        """The agents' latent factors ``[m, N, r]``.

        Members agree on them only up to an invertible map of the rank, which the other encoders
        undo.
        """
        return self.ensemble.agent_factors().cpu().numpy()

    def view(self) -> PerSim:
        """The same simulators, to which agents can be added without this one's knowing.

        Nothing is copied: what is large is shared, and never changed.
        """
        parts = (self.ensemble, self.task, self.experience, self.card, self._knowledge)
        twin = PerSim(*parts, self._uncertainty)
        twin.path = self.path
        return twin

    def to(self, device: str) -> PerSim:
        """The same simulators on a device."""
        to = check_device(device)
        known = None if self._knowledge is None else self._knowledge.to(to)
        parts = (self.ensemble.to(to), self.task, self.experience, self.card, known)
        return PerSim(*parts, self._uncertainty)

    @overload
    def predict(self, agents: Array, obs: Tensor, actions: Array) -> Tensor: ...

    @overload
    def predict(self, agents: Array, obs: Rows, actions: Array) -> NDArray[np.float32]: ...

    def predict(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Next observations, the members' mean.

        Args:
            agents: ``[n]`` indices, or one agent for all rows, by index or name.
            obs: ``[n, d]``; with ``lag`` above 1 states, which :meth:`states` makes, or single
                observations, for which :meth:`recall` finds a past.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[n, d]``, inside the observation space.
        """
        return self._like(obs, self._step(agents, obs, actions).mean(0))

    step = predict

    @overload
    def predict_members(self, agents: Array, obs: Tensor, actions: Array) -> Tensor: ...

    @overload
    def predict_members(self, agents: Array, obs: Rows, actions: Array) -> NDArray[np.float32]: ...

    def predict_members(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Next observations of every member, ``[m, n, d]``; arguments of :meth:`predict`."""
        return self._like(obs, self._step(agents, obs, actions))

    @overload
    def disagreement(self, agents: Array, obs: Tensor, actions: Array) -> Tensor: ...

    @overload
    def disagreement(self, agents: Array, obs: Rows, actions: Array) -> NDArray[np.float32]: ...

    def disagreement(self, agents: Array, obs: Array, actions: Array) -> Array:
        """How far the members are apart, ``[n]``; arguments of :meth:`predict`.

        The root mean square over coordinates of the members' deviation, in units of the deviation
        of the recorded changes: 1 is as uncertain as knowing nothing but the data's spread.
        """
        return self._like(obs, self.spread(self._step(agents, obs, actions)))

    def spread(self, predictions: Tensor) -> Tensor:
        """Disagreement ``[...]`` of members' predictions ``[m, ..., d]``."""
        if len(predictions) == 1:
            return torch.zeros_like(predictions[0, ..., 0])
        # Torch's var over the first axis takes ten times as long on many rows.
        centred = (predictions - predictions.mean(0)).div_(self._change_scale)
        return centred.square_().mean(dim=(0, -1)).sqrt_()

    @overload
    def rollout(
        self, agents: Array, obs: Tensor, actions: Array, *, propagation: str = ..., seed: int = ...
    ) -> Tensor: ...

    @overload
    def rollout(
        self, agents: Array, obs: Rows, actions: Array, *, propagation: str = ..., seed: int = ...
    ) -> NDArray[np.float32]: ...

    def rollout(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        propagation: str = "mean",
        seed: int = 0,
    ) -> Array:
        """Open-loop predictions, each member from its own states.

        Args:
            agents: ``[n]``.
            obs: As in :meth:`predict`.
            actions: ``[n, h]`` integers or ``[n, h, a]``.
            propagation: ``"mean"``, without noise, or ``"sample"``: with the process's noise, as it
                was found in the data, drawn for every member, row and step.
            seed: Of what is drawn.

        Returns:
            ``[m, n, h, d]``.

        Raises:
            ValueError: If there is no such propagation, or the noise is not known.
        """
        checks.one_of("propagation", propagation, ("mean", "sample"))
        agents_, states, actions_ = self._inputs(agents, obs, actions, "n", "h")
        if propagation == "sample":
            rng = np.random.default_rng(checks.integer("seed", seed, 0))
            parts = (self.ensemble, self.uncertainty.noise, agents_, states, actions_)
            return self._like(obs, sampled_rollout(*parts, rng))
        steps = [o[:, :, 0] for o in self.ensemble.unroll(agents_, states, actions_[:, None])]
        return self._like(obs, torch.stack(steps, dim=2))

    @property
    def uncertainty(self) -> Uncertainty:
        """Noise of the process and of observations, and what intervals are made of.

        Raises:
            ValueError: If the simulator was made by an older version or by hand.
        """
        if self._uncertainty is None:
            raise ValueError(
                "this simulator knows no noise of its data, for it was made by an older version or "
                "by hand: fit it again with PerSim.fit"
            )
        return self._uncertainty

    def rollout_interval(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        level: float = 0.95,
        of: str = "observation",
    ) -> tuple[Array, Array]:
        """Predictive intervals of open-loop predictions, of each coordinate at each step.

        They hold parameters, misfit and noise together, and are calibrated on the data.

        Args:
            agents: ``[n]``.
            obs: As in :meth:`predict`.
            actions: ``[n, h]`` integers or ``[n, h, a]``.
            level: Share of what comes that is to be inside, between 0 and 1.
            of: Of what would be observed (``"observation"``), or of the ``"state"`` without the
                observation's noise.

        Returns:
            Lower and upper ends ``[n, h, d]`` each, within the observation space, and not below
            zero, or above, where no data were. Ends of angles that wrap may be beyond a turn.

        Raises:
            ValueError: If an argument is invalid, or nothing is known of errors.
        """
        level = checks.number("level", level, 0, 1, above=True, below=True, says="between 0 and 1")
        checks.one_of("of", of, ("observation", "state"))
        intervals = self.uncertainty.intervals
        members = torch.as_tensor(self.rollout(agents, obs, actions)).double().cpu().numpy()
        centre, width = intervals.around(members, level, of == "state")
        low, high = (bound.double().cpu().numpy() for bound in self.ensemble.limits)
        known = self.experience
        low = np.where(known.low >= 0, np.maximum(low, 0.0), low)
        high = np.where(known.high <= 0, np.minimum(high, 0.0), high)
        low = np.where(intervals.turn > 0, -np.inf, low)
        high = np.where(intervals.turn > 0, np.inf, high)
        ends = (np.clip(centre + sign * width, low, high) for sign in (-1.0, 1.0))
        device = self.device
        below, above = (torch.as_tensor(e, dtype=torch.float32, device=device) for e in ends)
        return self._like(obs, below), self._like(obs, above)

    def unroll(
        self, agents: Array, states: Array, actions: Array, mode: UnrollMode = "members"
    ) -> Generator[Tensor, Tensor | None, None]:
        """Open-loop predictions of ``k`` action sequences a row, step by step: for planners.

        Args:
            agents: ``[p]``.
            states: ``[p, d]``, or with ``lag`` above 1 as in :meth:`predict`.
            actions: ``[p, k, h]`` integers or ``[p, k, h, a]``.
            mode: As in :meth:`Ensemble.unroll`.

        Yields:
            ``[m, p, k, d]``, or ``[1, p, k, d]`` where ``"sampled"``, for each of the ``h`` steps;
            what may be sent back, :meth:`Ensemble.unroll` says.
        """
        # A planner's own states are finite, and to ask takes time in every decision.
        agents_, states_, actions_ = self._inputs(
            agents, states, actions, "p", "k", "h", finite=False
        )
        return self.ensemble.unroll(agents_, states_, actions_, mode)

    def _step(self, agents: Array, obs: Array, actions: Array) -> Tensor:
        rows = self._inputs(agents, obs, actions, "n")
        # Hidden layers of many rows would take far more memory than the rows.
        size = ROWS_AT_ONCE.get(self.device.type, ROWS_AT_ONCE["cpu"])
        pieces = zip(*(part.split(size) for part in rows), strict=True)
        steps = [self.ensemble.step(*piece) for piece in pieces]
        return steps[0] if len(steps) == 1 else torch.cat(steps, dim=1)

    def _inputs(
        self, agents: Array, obs: Array, actions: Array, *axes: str, finite: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.lag > 1 and np.shape(obs)[1:] == (self.ensemble.obs_dim,):
            obs = self.recall(obs)
        states, actions_ = check_inputs(
            self.ensemble, self.task, obs, actions, *axes, finite=finite
        )
        agents = agents.cpu().numpy() if isinstance(agents, Tensor) else self.agent_indices(agents)
        rows = as_agents(agents, len(states), self.num_agents)
        self.check_seen(rows)
        return torch.as_tensor(rows, device=self.device), states, actions_

    def _like(self, given: Array, result: Tensor) -> Array:
        return result if isinstance(given, Tensor) else result.cpu().numpy()

    # -- states of a model with a lag ----------------------------------------------------------

    def states(self, obs: Array, actions: Array) -> Array:
        """States of the last observations and the actions between them.

        Args:
            obs: ``[n, l, d]``, oldest first; with a lag of 1 the actions make no difference.
            actions: ``[n, l - 1]`` integers or ``[n, l - 1, a]``.

        Returns:
            ``[n, l, w]``, or with a lag of 1 ``[n, d]``.

        Raises:
            ValueError: If shapes do not fit.
        """
        if np.ndim(obs) != 3 or np.shape(obs)[1] != self.lag:
            raise ValueError(
                f"obs must be the last {self.lag} observations (n, {self.lag}, "
                f"{self.ensemble.obs_dim}), got {tuple(np.shape(obs))}"
            )
        if not self.ensemble.past:
            return obs[:, 0] if self.lag == 1 else obs
        return self._like(obs, remembered(obs, actions, self._choices))

    def states_of(self, data: Transitions) -> NDArray[np.float32]:
        """States of recorded transitions ``[T, l, w]``, or with a lag of 1 ``[T, d]``.

        Before an episode's beginning stands its first observation.
        """
        states = slots(data, self.lag, self.ensemble.past)
        return states if self.lag == 1 else states.reshape(len(states), self.lag, -1)

    def recall(self, obs: Array) -> Array:
        """States in which episodes begin of which but the observations ``[n, d]`` are known.

        The past is that of the nearest recorded state, as far off as the observation is. A
        simulator that remembers none assumes that nothing changed.

        Returns:
            ``[n, l, w]``, or with a lag of 1 ``[n, d]``.
        """
        e, known = self.ensemble, self.experience
        now = torch.as_tensor(obs, dtype=torch.float32, device=self.device)
        if e.lag == 1:
            return obs
        states = beginning(now, e.lag, e.past).unflatten(1, (e.lag, -1))
        if known.pasts is not None and len(now):
            pasts = torch.as_tensor(known.pasts, device=self.device).unflatten(1, (e.lag, -1))
            width = torch.as_tensor(known.high - known.low, device=self.device).clamp_min(1e-12)
            latest = pasts[:, -1, e.past :]
            apart = [_distances(part / width, latest / width) for part in now.split(1024)]
            nearest = torch.cat([part.argmin(1) for part in apart])
            away = e.difference(latest[nearest], now)[:, None]
            states = pasts[nearest].clone()
            states[:, :-1, e.past :] = e.following(states[:, :-1, e.past :], away)
            states[:, -1, e.past :] = now
        return self._like(obs, states)

    def follow(self, states: Array, actions: Array, obs: Array) -> Array:
        """States after actions ``[n(, a)]`` that have led to observations ``[n, d]``."""
        if self.lag == 1:
            return obs
        parts = [torch.as_tensor(part) for part in (states, actions, obs)]
        before = coded(parts[1], self._choices) if self.ensemble.past else parts[2][:, :0]
        return self._like(states, moved(parts[0], before, parts[2].to(parts[0])))

    @property
    def _choices(self) -> int:
        space = self.task.action_space
        return int(space.n) if isinstance(space, Discrete) else 0

    # -- agents that were not in training -----------------------------------------------------

    @property
    def knowledge(self) -> Knowledge:
        """The population as a prior, and what is known of each agent beside its factor.

        Raises:
            ValueError: If the simulator was fitted before these were kept, or its model is not
                linear in an agent's factor.
        """
        if not self.ensemble.linear:
            raise ValueError(
                "this simulator's model is not linear in what is personal, so that agents cannot "
                "be added to it in closed form: fit again with their data, or with method='als'"
            )
        if self._knowledge is None:
            raise ValueError(
                "this simulator keeps no prior of its population, for it was made by an older "
                "version or by hand: fit it again with PerSim.fit"
            )
        return self._knowledge

    @knowledge.setter
    def knowledge(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    @property
    def prior(self) -> FactorPrior:
        """The population as the prior of a new agent's factor."""
        return self.knowledge.prior

    @overload
    def adapt(self, data: None = None, *, name: str | None = None) -> int: ...

    @overload
    def adapt(
        self,
        data: Rows | Tensor,
        actions: Rows | Tensor,
        next_obs: Rows | Tensor,
        *,
        name: str | None = None,
    ) -> int: ...

    @overload
    def adapt(
        self,
        data: Any,
        *,
        name: str | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
    ) -> int | list[int]: ...

    def adapt(
        self,
        data: Any = None,
        actions: Array | None = None,
        next_obs: Array | None = None,
        *,
        name: str | None = None,
        columns: Mapping[str, Any] | None = None,
        agent_of: Any = None,
    ) -> int | list[int]:
        """Add agents that were not in training, from a handful of transitions of each.

        Each one's factor is a Bayesian linear regression with the population as prior: closed
        form, milliseconds. Every face then serves them, and they are saved with the simulator.
        Transitions that end on a bound of the observation space are left out. The members'
        spread is the posterior's: with few transitions environments may stop at the guard's limit.

        Args:
            data: Whatever :meth:`fit` takes, of one or several new agents; or observations
                ``[n, d]`` of one agent, with ``actions`` and ``next_obs``; or nothing, for an agent
                that is the population's mean.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.
            name: What a single agent is called.
            columns: Of a table, as in :meth:`fit`.
            agent_of: Of a Minari data set, as in :meth:`fit`.

        Returns:
            The index of the agent, or of several a list in the order of their indices in the data.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If the data are of another task, or a name is taken.
        """
        if name is not None:
            checks.text("name", name)
        if (actions is None) != (next_obs is None):
            raise TypeError("arrays come as three: adapt(obs, actions, next_obs)")
        if actions is not None and next_obs is not None:
            return adaptation.add_rows(self, data, actions, next_obs, name)
        if data is None:
            return adaptation.append(self, [self.new_posterior()], [name])[0]
        return adaptation.add_transitions(self, as_transitions(data, columns, agent_of), name)

    def update(
        self, agent: int | str, obs: Array, actions: Array, next_obs: Array
    ) -> AgentPosterior:
        """Add transitions of an agent as they arrive: exactly as if all had come at once.

        Adapted agents and those of training alike. Environments and planners hold the simulator:
        those that were made before follow the new factor from their next step on.

        Args:
            agent: Index or name.
            obs: ``[n, d]``.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.

        Returns:
            What is known of the agent now.

        Raises:
            ValueError: If there is no such agent, or the transitions do not fit the task.
        """
        if next_obs is None:
            raise TypeError("next_obs must be observations, got None")
        return adaptation.update(self, self.agent_index(agent), obs, actions, next_obs)

    def posterior(self, agent: int | str) -> AgentPosterior:
        """What is known of an agent's factor: mean, covariance, intervals of predictions."""
        return self.knowledge.posterior(self.ensemble, self.task, self.agent_index(agent))

    def new_posterior(self) -> AgentPosterior:
        """What is known of an agent without any transitions: the population."""
        return AgentPosterior(FactorModel(self.ensemble, self.prior), self.task)

    def equations(self, agent: int | str | None = None, digits: int = 4) -> Equations:
        """A fit in closed form as polynomials to be read.

        Args:
            agent: Whose; ``None`` for the population's, its factors as symbols.
            digits: Significant digits of the coefficients.

        Raises:
            TypeError: If the simulator is one of networks.
            ValueError: If there is no such agent, or nothing was recorded of it.
        """
        from persim_gym.learned.closed_form.equations import equations_of

        return equations_of(self, agent, digits=digits)

    def map_covariates(self, covariates: Any) -> CovariateMap:
        """A map from covariates to factors, from agents whose covariates are known.

        Nothing else ever needs covariates.

        Args:
            covariates: Of all agents ``[N, c]``, or of the first ones, who alone are used then;
                rows of nan where they are not known.

        Raises:
            ValueError: If shapes do not fit, fewer than five are known, or the fitted agents were
                too many for their evidence to be kept.
        """
        return adaptation.map_covariates(self, covariates)

    def adapt_covariates(
        self, mapping: CovariateMap, covariates: Any, names: Sequence[str] | None = None
    ) -> list[int]:
        """Add agents by their covariates ``[n, c]`` alone; :meth:`update` adds transitions later.

        Args:
            mapping: What :meth:`map_covariates` of this simulator has made.
            covariates: Theirs.
            names: What they are called ``[n]``.

        Returns:
            Their indices.

        Raises:
            ValueError: If shapes do not fit, or a name is taken.
        """
        return adaptation.add_by_covariates(self, mapping, covariates, names)

    # -- environments --------------------------------------------------------------------------

    def env(self, agent: int | str | None = None, **options: Any) -> LearnedSimEnv:
        """One agent's simulator as a Gymnasium environment; see :class:`LearnedSimEnv`."""
        from persim_gym.learned.env import LearnedSimEnv

        return LearnedSimEnv(self, agent, **options)

    def vector_env(
        self,
        num_envs: int,
        agents: int | str | Sequence[int | str] | None = None,
        **options: Any,
    ) -> SimVectorEnv:
        """Many lanes of simulators as a vector environment; options of :class:`LearnedSimEnv`."""
        from persim_gym.learned.env import make_vector_env

        return make_vector_env(self, num_envs, agents, **options)

    def parallel_env(self, agents: Sequence[int | str], **options: Any) -> SimParallelEnv:
        """Several agents' simulators as a PettingZoo environment."""
        from persim_gym.learned.env import make_parallel_env

        return make_parallel_env(self, agents, **options)

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the simulators into a folder: ``simulator.safetensors``, whole or not at all.

        A ``simulator.json`` beside it repeats the card for people; nothing reads it.

        Returns:
            The folder.
        """
        parts = self.ensemble, self.task, self.experience, self._knowledge, self._uncertainty
        folder = checks.output_folder("path", path)
        self.path = write_simulator(folder, self.card, *parts)
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
        parts = read_simulator(path, task)
        ensemble, known = parts.ensemble.to(to), parts.knowledge
        if known is not None:
            known = known.to(ensemble.device)
        sim = cls(ensemble, parts.task, parts.experience, parts.card, known, parts.uncertainty)
        sim.path = path
        return sim

    def __repr__(self) -> str:
        """A short description."""
        e = self.ensemble
        return (
            f"PerSim(task={self.task.name!r}, agents={e.num_agents}, rank={e.rank}, "
            f"members={e.members}, device={str(self.device)!r})"
        )
