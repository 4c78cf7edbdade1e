"""`PerSim`: the personalised simulators of a population, fitted from recorded transitions."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import store
from persim_gym.core import Array, Task, as_agent, as_agents
from persim_gym.learned.config import plan_fit
from persim_gym.learned.data_task import DataTask, outcomes_sha256
from persim_gym.learned.ensemble import Ensemble, UnrollMode
from persim_gym.learned.files import PARTS, ensemble_from_file, ensemble_tensors
from persim_gym.learned.fit import checkpoint_in, fit_by
from persim_gym.learned.fitting import FitProgress
from persim_gym.learned.preparation import (
    Data,
    Experience,
    as_transitions,
    check_device,
    task_for,
    task_of,
)
from persim_gym.learned.progress import reporter
from persim_gym.offline.transitions import Transitions

if TYPE_CHECKING:
    from collections.abc import Generator

    from persim_gym.envs.parallel import SimParallelEnv
    from persim_gym.envs.vector import SimVectorEnv
    from persim_gym.learned.env import LearnedSimEnv


#: Disagreement that is never taken for a sign of ignorance: a fifth of the deviation of the
#: recorded changes.
HARMLESS = 0.2

#: Rows that go through the network together, by kind of device.
ROWS_AT_ONCE = {"cpu": 1024, "cuda": 65_536}


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
    """

    def __init__(
        self, ensemble: Ensemble, task: Task, experience: Experience, card: dict[str, Any]
    ) -> None:
        self.ensemble = ensemble
        self.task = task
        self.experience = experience
        self.card = card
        self.path: Path | None = None
        self._index_of = {name: k for k, name in enumerate(card.get("agent_names") or ())}
        self._all_seen = experience.seen is None or bool(experience.seen.all())
        self._change_scale = torch.as_tensor(experience.change_scale, device=ensemble.device)

    # -- fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        data: Any,
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
            method: ``"als"`` (closed form, in a polynomial basis), ``"sgd"`` (the paper's networks)
                or ``"auto"``: the closed form where it finds the law, else the one that predicts
                held-out stretches better. An option that only one of them has chooses that one.
            preset: Of networks: ``"default"`` or ``"paper"`` (the settings of the paper's code).
            task: The task; by default the one that the data name, or else a
                :class:`~persim_gym.learned.data_task.DataTask`: spaces and start states from the
                data, reward and termination learned from them.
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
            **options: Fields of :class:`~persim_gym.learned.FitConfig` that differ from the
                preset, or of :class:`~persim_gym.learned.AlsConfig`, such as ``rank=5,
                ensemble_size=5, seed=1`` and ``epochs=100`` or ``degree=3``.

        Raises:
            ValueError: If data, preset or an option is invalid, or ``out`` holds a checkpoint of
                another fit.
            FloatingPointError: If the loss diverges.
        """
        transitions = as_transitions(data, columns, agent_of)
        name = transitions.task_name if task is None else task.name
        plan = plan_fit(name, method=method, preset=preset, options=options)
        torch_device = check_device(device)
        if task is None:
            task = task_for(transitions, plan.seed)
        checked = Data(transitions, task)
        recipe: dict[str, Any] = {
            "method": plan.method,
            "config": plan.to_json(),
            "preset": preset,
            "task": task.name,
            "dataset": {
                "id": transitions.dataset_id,
                "sha256": transitions.sha256(),
                "transitions": len(transitions),
                "agents": transitions.num_agents,
                "population": transitions.population,
            },
        }
        if isinstance(task, DataTask):  # then rewards and ends decide something, too
            recipe["dataset"]["outcomes_sha256"] = outcomes_sha256(transitions)
        checkpoint = checkpoint_in(out, recipe)
        with reporter(progress, on_epoch) as report:
            fitted = fit_by(checked, plan, torch_device, report, checkpoint, save_every)
        names = transitions.agent_names, transitions.obs_names, transitions.action_names
        card = recipe | {
            "fitted_by": fitted.method,
            "metrics": fitted.metrics,
            "agent_names": names[0] and list(names[0]),
            "obs_names": names[1] and list(names[1]),
            "action_names": names[2] and list(names[2]),
        }
        if isinstance(task, DataTask):
            card["data_task"] = task.to_json()
        ensemble = fitted.ensemble.to(torch_device)
        sim = cls(ensemble, task, checked.experience(), card)
        sim._calibrate(transitions)
        if out is not None and checkpoint is not None:
            sim.save(out)
            checkpoint.discard()
        return sim

    def _calibrate(self, transitions: Transitions) -> None:
        """Set the disagreement that recorded transitions almost never reach.

        Three times their 99.9th percentile: an open-loop rollout on the data's own ground must
        not be cut short by an ordinary outlier. Never less than :data:`HARMLESS`: where a fit is
        excellent, members that differ by a thousandth are no reason to stop.
        """
        if self.ensemble.members == 1:
            return
        states = transitions.states(self.lag).reshape(len(transitions), -1)
        chosen = np.arange(len(transitions))
        if len(chosen) > 20_000:
            chosen = np.random.default_rng(0).choice(chosen, 20_000, replace=False)
        spread = self.disagreement(
            transitions.agent[chosen], states[chosen], transitions.action[chosen]
        )
        limit = max(HARMLESS, 3.0 * float(np.quantile(spread, 0.999)))
        self.experience = dataclasses.replace(self.experience, disagreement_limit=limit)

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

    def agent_index(self, agent: object) -> int:
        """The index of an agent that is named as in the data, or by its index.

        Raises:
            TypeError: If it is neither text nor an integer.
            ValueError: If there is no such agent.
        """
        if not isinstance(agent, str):
            return as_agent(agent, self.num_agents)
        if agent in self._index_of:
            return self._index_of[agent]
        if not self._index_of:
            raise ValueError(
                f"agent {agent!r} is not known by name: this simulator's agents are numbers, 0 to "
                f"{self.num_agents - 1}"
            )
        near = difflib.get_close_matches(agent, self._index_of, n=1) or list(self._index_of)[:1]
        raise ValueError(
            f"there is no agent {agent!r} among the {self.num_agents} of this simulator; there is "
            f"{near[0]!r}"
        )

    def agent_indices(self, agents: Any) -> Any:
        """Agents with names turned into indices: one, a sequence, or ``None`` as it came."""
        if isinstance(agents, str):
            return self.agent_index(agents)
        if agents is None or np.ndim(agents) == 0 or isinstance(agents, range):
            return agents
        if any(isinstance(agent, str) for agent in agents):
            return [self.agent_index(agent) for agent in agents]
        return agents

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

    def to(self, device: str) -> PerSim:
        """The same simulators on a device."""
        return PerSim(self.ensemble.to(check_device(device)), self.task, self.experience, self.card)

    def predict(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Next observations, the members' mean.

        Args:
            agents: ``[n]`` integers, or one for all rows.
            obs: ``[n, d]``; with ``lag`` above 1 ``[n, l, d]`` or ``[n, l * d]``, oldest first. Of
                a single observation a constant past is assumed.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[n, d]``, inside the observation space.
        """
        return self._like(obs, self._step(agents, obs, actions).mean(0))

    step = predict

    def predict_members(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Next observations of every member, ``[m, n, d]``; arguments of :meth:`predict`."""
        return self._like(obs, self._step(agents, obs, actions))

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

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Open-loop predictions, each member from its own states.

        Args:
            agents: ``[n]``.
            obs: ``[n, d]``, or with ``lag`` above 1 also ``[n, l, d]``.
            actions: ``[n, h]`` integers or ``[n, h, a]``.

        Returns:
            ``[m, n, h, d]``.
        """
        agents_, states, actions_ = self._inputs(agents, obs, actions, "n", "h")
        steps = [o[:, :, 0] for o in self.ensemble.unroll(agents_, states, actions_[:, None])]
        return self._like(obs, torch.stack(steps, dim=2))

    def unroll(
        self, agents: Array, states: Array, actions: Array, mode: UnrollMode = "members"
    ) -> Generator[Tensor, Tensor | None, None]:
        """Open-loop predictions of ``k`` action sequences a row, step by step: for planners.

        Args:
            agents: ``[p]``.
            states: ``[p, d]`` (or ``[p, l, d]``).
            actions: ``[p, k, h]`` integers or ``[p, k, h, a]``.
            mode: As in :meth:`Ensemble.unroll`.

        Yields:
            ``[m, p, k, d]`` for each of the ``h`` steps; what may be sent back,
            :meth:`Ensemble.unroll` says.
        """
        agents_, states_, actions_ = self._inputs(agents, states, actions, "p", "k", "h")
        return self.ensemble.unroll(agents_, states_, actions_, mode)

    def _step(self, agents: Array, obs: Array, actions: Array) -> Tensor:
        rows = self._inputs(agents, obs, actions, "n")
        # Hidden layers of many rows would take far more memory than the rows.
        size = ROWS_AT_ONCE.get(self.device.type, ROWS_AT_ONCE["cpu"])
        pieces = zip(*(part.split(size) for part in rows), strict=True)
        steps = [self.ensemble.step(*piece) for piece in pieces]
        return self.ensemble.settle(steps[0] if len(steps) == 1 else torch.cat(steps, dim=1))

    def _inputs(
        self, agents: Array, obs: Array, actions: Array, *axes: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments checked, on the device: ``[n]``, ``[n, l * d]``, actions ``[*axes(, a)]``."""
        d, device = self.ensemble.obs_dim, self.device
        states = torch.as_tensor(obs, dtype=torch.float32, device=device)
        n = len(states) if states.ndim else 0
        if states.shape == (n, d):
            states = states.repeat(1, self.lag) if self.lag > 1 else states
        elif states.shape == (n, self.lag, d):
            states = states.reshape(n, -1)
        elif states.shape != (n, self.lag * d):
            lags = f" or (n, {self.lag}, {d})" if self.lag > 1 else ""
            raise ValueError(f"obs must have shape (n, {d}){lags}, got {tuple(states.shape)}")
        discrete = isinstance(self.task.action_space, Discrete)
        kind = torch.long if discrete else torch.float32
        actions_ = torch.as_tensor(actions, device=device)
        if discrete and actions_.is_floating_point():
            raise TypeError(f"discrete actions must be integers, got {actions_.dtype}")
        actions_ = actions_.to(kind)
        tail: tuple[int, ...] = () if discrete else tuple(self.task.action_space.shape or ())
        lead, rest = actions_.shape[: len(axes)], actions_.shape[len(axes) :]
        if len(lead) != len(axes) or lead[0] != n or rest != tail:
            raise ValueError(
                f"actions must have shape {(*axes, *tail)} with {axes[0]} = {n}, got "
                f"{tuple(actions_.shape)}"
            )
        if 0 in lead[1:]:
            raise ValueError(
                f"actions must hold at least one step, got shape {tuple(actions_.shape)}"
            )
        if discrete and n:
            low, high = torch.aminmax(actions_)
            if low < 0 or high >= self.task.action_space.n:  # type: ignore[union-attr]
                raise ValueError(
                    f"actions must be 0 to {self.task.action_space.n - 1}, got {int(low)} to "  # type: ignore[union-attr]
                    f"{int(high)}"
                )
        if isinstance(agents, Tensor):
            agents = agents.cpu().numpy()
        rows = as_agents(agents, n, self.num_agents)
        self.check_seen(rows)
        return torch.as_tensor(rows, device=device), states, actions_

    def _like(self, given: Array, result: Tensor) -> Array:
        return result if isinstance(given, Tensor) else result.cpu().numpy()

    # -- environments --------------------------------------------------------------------------

    def env(self, agent: int | str = 0, **options: Any) -> LearnedSimEnv:
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
        folder = Path(path)
        e = self.experience
        tensors = ensemble_tensors(self.ensemble)
        for name in ("low", "high", "change_scale", "starts", "seen"):
            if getattr(e, name) is not None:
                tensors[f"experience.{name}"] = torch.as_tensor(getattr(e, name))
        if isinstance(self.task, DataTask):
            tensors |= {f"task.{name}": t for name, t in self.task.tensors().items()}
        limit = e.disagreement_limit
        card = {
            **self.card,
            "shape": self.ensemble.to_json(),
            "disagreement_limit": limit if math.isfinite(limit) else None,
        }
        store.write(folder / store.SIMULATOR, "simulator", tensors, card)
        (folder / "simulator.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
        self.path = folder
        return folder

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
        folder = Path(path)
        file = folder / store.SIMULATOR if folder.suffix != ".safetensors" else folder
        tensors, card = store.read(file, "simulator")
        try:
            shape = card.pop("shape")
            parts: dict[str, dict[str, Tensor]] = {p: {} for p in (*PARTS, "experience", "task")}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            limit = card.pop("disagreement_limit")
            experience = Experience(
                **{name: tensor.numpy() for name, tensor in parts["experience"].items()},
                disagreement_limit=math.inf if limit is None else float(limit),
            )
            ensemble = ensemble_from_file(shape, parts)
            if task is None and parts["task"]:
                task = DataTask.from_parts(parts["task"], card["data_task"])
            task = task or task_of(card["task"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file} lacks what a simulator needs: {error}") from None
        sim = cls(ensemble.to(check_device(device)), task, experience, card)
        sim.path = folder
        return sim

    def __repr__(self) -> str:
        """A short description."""
        e = self.ensemble
        return (
            f"PerSim(task={self.task.name!r}, agents={e.num_agents}, rank={e.rank}, "
            f"members={e.members}, device={str(self.device)!r})"
        )
