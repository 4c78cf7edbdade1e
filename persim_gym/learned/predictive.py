"""`PredictiveDynamics`: a simulator that says how far its predictions may be off."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array, as_agents
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.support import OWN, RolloutReport


class PredictiveDynamics(LearnedDynamics):
    """Fitted members with predictive intervals of what they predict."""

    def rollout_report(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        propagation: str = "mean",
        seed: int = 0,
        strict: bool = False,
    ) -> tuple[Array, RolloutReport]:
        """:meth:`rollout`, with a report of what of it is outside of the record.

        Returns:
            Predictions ``[m, n, h, d]``, and the report.

        Raises:
            ValueError: As :meth:`rollout`, or if it is not remembered which actions were recorded.
        """
        record = self.action_record
        if record is None:
            raise ValueError(
                "this simulator does not remember which actions were recorded, for it was made by "
                "an older version or by hand: fit it again with PerSim.fit"
            )
        predicted = self.rollout(
            agents, obs, actions, propagation=propagation, seed=seed, strict=strict
        )
        # What fades comes back from where its course has been.
        course = predicted
        if propagation == "mean" and self.noisy and self.uncertainty.fading is not None:
            course = self.rollout(agents, obs, actions, propagation="course")
        members = torch.as_tensor(course).cpu().numpy()
        acted = torch.as_tensor(actions).cpu().numpy()
        n, h = acted.shape[:2]
        agents = agents.cpu().numpy() if isinstance(agents, Tensor) else self.agent_indices(agents)
        found = record.measure(as_agents(agents, n, self.num_agents), acted)
        nothing = np.zeros((n, h), dtype=np.int64)
        count, own = (nothing, nothing) if found is None else found[:2]
        known, mean = self.experience, members.mean(axis=0)
        outside = ~((mean >= known.low) & (mean <= known.high)).all(axis=-1)
        low, high = (bound.cpu().numpy() for bound in self.ensemble.limits)
        report = RolloutReport(
            actions=(count > 0).sum(axis=1),
            own_actions=(own > 0).sum(axis=1),
            beyond=np.zeros(n) if found is None else found.beyond.max(axis=1),
            states=outside.sum(axis=1),
            clipped=((members <= low) | (members >= high)).any(axis=0).sum(axis=(1, 2)),
            horizon=h,
        )
        return predicted, report

    def rollout_interval(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        level: float = 0.95,
        of: str = "observation",
        strict: bool = False,
        rollout: Array | None = None,
    ) -> tuple[Array, Array]:
        """Predictive intervals of open-loop predictions, of each coordinate at each step.

        They hold parameters, misfit and noise together, and are calibrated on the data. Of actions
        outside of the record nothing is known: from there on they are wider, in every step by the
        distance, in widths of the record, times the deviation of the recorded changes. Of a
        distance under a tenth the square counts, times ten.

        Args:
            agents: ``[n]``.
            obs: As in :meth:`predict`.
            actions: ``[n, h]`` integers or ``[n, h, a]``.
            level: Share of what comes that is to be inside, between 0 and 1.
            of: Of what would be observed (``"observation"``), or of the ``"state"`` without the
                observation's noise.
            strict: Refuse actions outside of what was recorded of any agent.
            rollout: What :meth:`rollout` has given for the same arguments ``[m, n, h, d]``: to
                predict takes most of the time.

        Returns:
            Lower and upper ends ``[n, h, d]`` each, within the observation space and its physical
            limits; of a task without any known, not below zero, or above, where no data were. Ends
            of angles that wrap may be beyond a turn.

        Raises:
            ValueError: If an argument is invalid, nothing is known of errors, or ``strict`` refuses
                an action.
        """
        level = checks.number("level", level, 0, 1, above=True, below=True, says="between 0 and 1")
        checks.one_of("of", of, ("observation", "state"))
        intervals = self.uncertainty.intervals
        if rollout is None:
            predicted = self.rollout(agents, obs, actions, strict=strict)
        else:
            predicted = self._as_rolled_out(agents, obs, actions, rollout, strict)
        members = torch.as_tensor(predicted).double().cpu().numpy()
        centre, width = intervals.around(members, level, of == "state")
        extra = self.extrapolation(agents, actions)
        if extra is not None:
            # Just beyond the record a smooth law has hardly changed.
            far = extra.double() * (extra.double() / OWN).clamp(max=1.0)
            steps = far.cumsum(1).cpu().numpy()[..., None]
            width = np.hypot(width, steps * self.experience.change_scale)
        low, high = (bound.double().cpu().numpy() for bound in self.ensemble.limits)
        limits = getattr(self.task, "limits", None)
        if limits is None:
            known = self.experience
            limits = np.where(known.low >= 0, 0.0, low), np.where(known.high <= 0, 0.0, high)
        low, high = np.maximum(low, limits[0]), np.minimum(high, limits[1])
        low = np.where(intervals.turn > 0, -np.inf, low)
        high = np.where(intervals.turn > 0, np.inf, high)
        ends = (np.clip(centre + sign * width, low, high) for sign in (-1.0, 1.0))
        device = self.device
        below, above = (torch.as_tensor(e, dtype=torch.float32, device=device) for e in ends)
        return self._like(obs, below), self._like(obs, above)

    def _as_rolled_out(
        self, agents: Array, obs: Array, actions: Array, rollout: Array, strict: bool
    ) -> Array:
        """A rollout that is there already, of the same arguments by its size.

        Raises:
            ValueError: If it is another's, or ``strict`` refuses an action.
        """
        _, states, acted = self._inputs(agents, obs, actions, "n", "h", strict=strict)
        size = (self.members, len(states), acted.shape[1], self.ensemble.obs_dim)
        if not isinstance(rollout, (Tensor, np.ndarray)) or tuple(rollout.shape) != size:
            raise ValueError(
                f"rollout must be what sim.rollout gives for these arguments, {size}, got "
                f"{checks.shown(getattr(rollout, 'shape', rollout))}"
            )
        return rollout
