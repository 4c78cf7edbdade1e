"""`LearnedDynamics`: the personalised simulators of a population, as far as they predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array, as_agents
from persim_gym.learned.ensemble import UnrollMode
from persim_gym.learned.history import beginning, coded, moved, remembered, slots
from persim_gym.learned.identity import Identity
from persim_gym.learned.inputs import check_inputs
from persim_gym.learned.uncertainty.learn import Uncertainty, sampled_rollout

if TYPE_CHECKING:
    from collections.abc import Generator

    from persim_gym.offline.transitions import Transitions


#: Rows of numbers that are no tensors: what is computed of them is an array.
Rows: TypeAlias = "NDArray[Any] | Sequence[Any]"

#: What :meth:`LearnedDynamics.rollout` may follow.
PROPAGATIONS = ("mean", "course", "sample")

#: Rows that go through the network together, by kind of device.
ROWS_AT_ONCE = {"cpu": 1024, "cuda": 65_536}


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    """Distances ``[n, k]``; not by a matrix product, so that they do not depend on ``n``."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


class LearnedDynamics(Identity):
    """Fitted members as a :class:`~persim_gym.core.Dynamics`, with agents by name or index.

    Environments and planners take it as they take true physics. All methods accept arrays or
    tensors and return the kind they were given.
    """

    # -- prediction ----------------------------------------------------------------------------

    @overload
    def predict(
        self, agents: Array, obs: Tensor, actions: Array, *, strict: bool = ...
    ) -> Tensor: ...

    @overload
    def predict(
        self, agents: Array, obs: Rows, actions: Array, *, strict: bool = ...
    ) -> NDArray[np.float32]: ...

    def predict(self, agents: Array, obs: Array, actions: Array, *, strict: bool = False) -> Array:
        """Next observations, the members' mean.

        Args:
            agents: ``[n]`` indices, or one agent for all rows, by index or name.
            obs: ``[n, d]``; with ``lag`` above 1 states, which :meth:`states` makes, or single
                observations, for which :meth:`recall` finds a past.
            actions: ``[n]`` integers or ``[n, a]``.
            strict: Refuse actions outside of what was recorded of any agent.

        Returns:
            ``[n, d]``, inside the observation space.

        Raises:
            ValueError: If an argument is invalid, or ``strict`` refuses an action.
        """
        return self._like(obs, self._step(agents, obs, actions, strict=strict).mean(0))

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

        The root mean square over coordinates of the members' standard deviation, in units of that
        of the recorded changes: 1 is as uncertain as knowing nothing but the recorded changes.
        An action outside of what was recorded adds its distance, in widths of the record, as
        independent uncertainty.
        """
        apart = self.disagreement_of(self._step(agents, obs, actions))
        extra = self.extrapolation(agents, actions)
        return self._like(obs, apart if extra is None else apart.hypot(extra.to(apart)))

    def extrapolation(self, agents: Array, actions: Array) -> Tensor | None:
        """How far actions ``[n, ...]`` are outside of the record, in units of disagreement.

        Returns:
            ``[n, ...]``; ``None`` where nothing is, or the record is not remembered.
        """
        if self._record is None or self._record.everything:
            return None
        plain = actions.cpu().numpy() if isinstance(actions, Tensor) else np.asarray(actions)
        agents = agents.cpu().numpy() if isinstance(agents, Tensor) else self.agent_indices(agents)
        found = self._record.measure(as_agents(agents, len(plain), self.num_agents), plain)
        return None if found is None else torch.as_tensor(found.extra)

    def disagreement_of(self, predictions: Tensor) -> Tensor:
        """Disagreement ``[...]`` of members' predictions ``[m, ..., d]``."""
        if len(predictions) == 1:
            return torch.zeros_like(predictions[0, ..., 0])
        # Torch's var over the first axis takes ten times as long on many rows.
        centred = (predictions - predictions.mean(0)).div_(self._change_scale)
        return centred.square_().mean(dim=(0, -1)).sqrt_()

    @overload
    def rollout(
        self, agents: Array, obs: Tensor, actions: Array, *, propagation: str = ...,
        seed: int = ..., strict: bool = ...,
    ) -> Tensor: ...  # fmt: skip

    @overload
    def rollout(
        self, agents: Array, obs: Rows, actions: Array, *, propagation: str = ...,
        seed: int = ..., strict: bool = ...,
    ) -> NDArray[np.float32]: ...  # fmt: skip

    def rollout(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        propagation: str = "mean",
        seed: int = 0,
        strict: bool = False,
    ) -> Array:
        """Open-loop predictions, each member from its own states.

        Where stretches of the record that a fit had not seen say that predictions are worth little
        after so many steps, they fade: towards the observation that they began from, and towards
        the population's mean (:mod:`~persim_gym.learned.uncertainty.fading`).
        :meth:`rollout_report` says as well what of it is outside of the record.

        Args:
            agents: ``[n]``.
            obs: As in :meth:`predict`.
            actions: ``[n, h]`` integers or ``[n, h, a]``.
            propagation: ``"mean"``, the best prediction of what comes; ``"course"``, where the
                model goes step by step, without fading; or ``"sample"``: a course with the
                process's noise, as it was found in the data, drawn for every member, row and step.
            seed: Of what is drawn.
            strict: Refuse actions outside of what was recorded of any agent.

        Returns:
            ``[m, n, h, d]``.

        Raises:
            ValueError: If there is no such propagation, the noise is not known, or ``strict``
                refuses an action.
        """
        checks.one_of("propagation", propagation, PROPAGATIONS)
        agents_, states, actions_ = self._inputs(agents, obs, actions, "n", "h", strict=strict)
        if propagation == "sample":
            rng = np.random.default_rng(checks.integer("seed", seed, 0))
            parts = (self.ensemble, self.uncertainty.noise, agents_, states, actions_)
            return self._like(obs, sampled_rollout(*parts, rng))
        steps = [o[:, :, 0] for o in self.ensemble.unroll(agents_, states, actions_[:, None])]
        course, known = torch.stack(steps, dim=2), self._parts.uncertainty
        if propagation == "mean" and known is not None and known.fading is not None:
            course = known.fading(course, states)
        return self._like(obs, course)

    @property
    def noisy(self) -> bool:
        """Whether the process's noise is known."""
        return self._parts.uncertainty is not None

    @property
    def uncertainty(self) -> Uncertainty:
        """Noise of the process and of observations, and what intervals are made of.

        Raises:
            ValueError: If the simulator was made by an older version or by hand.
        """
        uncertainty = self._parts.uncertainty
        if uncertainty is None:
            raise ValueError(
                "this simulator knows no noise of its data, for it was made by an older version or "
                "by hand: fit it again with PerSim.fit"
            )
        return uncertainty

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

    def unroll_noisy(
        self, agents: Array, states: Array, actions: Array, seed: int
    ) -> Generator[Tensor, Tensor | None, None]:
        """The same with the process's noise, which all sequences of a row meet alike.

        Yields:
            ``[m, p, k, d]`` for each step; indices ``[p, k']`` of sequences may be sent back.

        Raises:
            ValueError: If the noise is not known.
        """
        agents_, states_, actions_ = self._inputs(
            agents, states, actions, "p", "k", "h", finite=False
        )
        p, k = actions_.shape[:2]
        rows = agents_.repeat_interleave(k), states_.repeat_interleave(k, 0), actions_.flatten(0, 1)
        rng = np.random.default_rng(seed)
        noise = self.uncertainty.noise
        steps = sampled_rollout(self.ensemble, noise, *rows, rng, alike=k).unflatten(1, (p, k))
        for t in range(steps.shape[3]):
            kept = yield steps[..., t, :]
            if kept is not None:
                index = kept[None, :, :, None, None].expand(len(steps), -1, -1, *steps.shape[3:])
                steps = steps.gather(2, index)

    def _step(self, agents: Array, obs: Array, actions: Array, *, strict: bool = False) -> Tensor:
        rows = self._inputs(agents, obs, actions, "n", strict=strict)
        # Hidden layers of many rows would take far more memory than the rows.
        size = ROWS_AT_ONCE.get(self.device.type, ROWS_AT_ONCE["cpu"])
        pieces = zip(*(part.split(size) for part in rows), strict=True)
        steps = [self.ensemble.step(*piece) for piece in pieces]
        return steps[0] if len(steps) == 1 else torch.cat(steps, dim=1)

    def _inputs(
        self, agents: Array, obs: Array, actions: Array, *axes: str, finite: bool = True,
        strict: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if self.lag > 1 and np.shape(obs)[1:] == (self.ensemble.obs_dim,):
            obs = self.recall(obs)
        states, actions_ = check_inputs(
            self.ensemble, self.task, obs, actions, *axes, finite=finite
        )
        agents = agents.cpu().numpy() if isinstance(agents, Tensor) else self.agent_indices(agents)
        rows = as_agents(agents, len(states), self.num_agents)
        self.check_seen(rows)
        if checks.switch("strict", strict):
            self.check_actions(rows, actions_.cpu().numpy())
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
