"""MOReL's pessimistic dynamics: known as long as the members agree, an end where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.envs.guard import Reason, reasons
from persim_gym.envs.lanes import Advance
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.environments.served import ServedDynamics


class PessimisticDynamics(ServedDynamics):
    """A learned model whose episodes halt in unknown states, as the shells step it.

    Each episode follows one member, drawn when it begins. Where the members' predictions differ by
    more than the limit, the episode terminates (HALT is absorbing) with the penalty;
    ``info["guard"]`` is then ``"disagreement"``, ``info["discrepancy"]`` the largest difference.

    Args:
        model: The members.
        limit: Largest discrepancy of what is known.
        penalty: Reward to subtract where an episode halts.
    """

    def __init__(self, model: LearnedDynamics, limit: float, penalty: float) -> None:
        super().__init__(model)
        self.limit, self.penalty = limit, penalty

    @property
    def quiet_info(self) -> dict[str, np.generic]:
        """What ``info`` holds at a reset."""
        quiet = {"discrepancy": np.float64(0), "guard": Reason()}
        return {**quiet, "reward_raw": np.float64(0), "penalty": np.float64(0)}

    def begin(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The member that each of ``n`` beginning episodes follows."""
        return rng.integers(0, self.sim.members, size=n)

    def advance(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Advance:
        """One step of ``n`` rows."""
        n = len(agents)
        rows = (torch.as_tensor(np.array(part)) for part in (agents, states, actions))
        device, kind = self.sim.device, torch.float32
        who, obs, acted = (part.to(device) for part in rows)
        acted = acted if acted.dtype == torch.int64 else acted.to(kind)
        members = self.sim.ensemble.step(who, obs.to(kind), acted)
        apart = self.discrepancy(members).cpu().numpy().astype(np.float64)
        following = members.cpu().numpy()[kept, np.arange(n)].astype(np.float64)
        lost = ~np.isfinite(following).all(axis=1) | ~np.isfinite(apart)
        following[lost] = states[lost]
        apart[lost] = np.inf
        halt = apart > self.limit
        return Advance(
            following,
            np.zeros(n, dtype=np.bool_),
            np.where(halt, self.penalty, 0.0),
            {"discrepancy": apart, "guard": reasons(n, disagreement=halt, non_finite=lost)},
            halt,
        )

    def discrepancy(self, members: Tensor) -> Tensor:
        """Largest distance between two members' predictions ``[m, n, d]``: ``[n]``.

        Original: there it is in the state's own units. Here each coordinate counts in units of its
        recorded changes: MountainCar's velocity would else count for nothing.
        """
        scale = self.sim.experience.change_scale
        scaled = members / torch.as_tensor(scale, device=members.device)
        pairs = scaled[:, None] - scaled[None]
        return pairs.square().sum(-1).amax(dim=(0, 1)).sqrt()
