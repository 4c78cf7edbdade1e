"""`PredictiveDynamics`: a simulator that says how far its predictions may be off."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym import checks
from persim_gym.core import Array
from persim_gym.learned.dynamics import LearnedDynamics


class PredictiveDynamics(LearnedDynamics):
    """Fitted members with predictive intervals of what they predict."""

    def rollout_interval(
        self,
        agents: Array,
        obs: Array,
        actions: Array,
        *,
        level: float = 0.95,
        of: str = "observation",
        rollout: Array | None = None,
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
            rollout: What :meth:`rollout` has given for the same arguments ``[m, n, h, d]``: to
                predict takes most of the time.

        Returns:
            Lower and upper ends ``[n, h, d]`` each, within the observation space, and not below
            zero, or above, where no data were. Ends of angles that wrap may be beyond a turn.

        Raises:
            ValueError: If an argument is invalid, or nothing is known of errors.
        """
        level = checks.number("level", level, 0, 1, above=True, below=True, says="between 0 and 1")
        checks.one_of("of", of, ("observation", "state"))
        intervals = self.uncertainty.intervals
        predicted = self.rollout(agents, obs, actions) if rollout is None else rollout
        members = torch.as_tensor(predicted).double().cpu().numpy()
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
