"""Latent networks with random weights in frames of every kind; no fit."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.geometry.geometry import Angle, Geometry
from persim_gym.learned.latent.network import LatentNetwork, LatentShape


def random_latents(
    *,
    d: int = 3,
    choices: int = 3,
    action_dim: int = 0,
    angles: tuple[int, ...] = (),
    left_out: tuple[int, ...] = (),
    gates: int = 2,
    hidden: tuple[int, ...] = (8, 6),
    mixed: bool = False,
    hold: float = 2.0,
) -> FrameEnsemble:
    """An ensemble of three members and four agents.

    Args:
        d: Coordinates.
        choices: Discrete actions, or 0.
        action_dim: Numbers of a continuous action.
        angles: Coordinates that are angles.
        left_out: Features that are constant in the data.
        gates: Gates.
        hidden: Widths.
        mixed: Whether features are mixed.
        hold: Where features are held.
    """
    geometry = Geometry(d, angles=tuple(Angle(column) for column in angles))
    every = d + len(angles) + (choices - 1 if choices else action_dim)
    kept = tuple(k for k in range(every) if k not in left_out)
    q, draw = len(kept), torch.Generator().manual_seed(3)
    centre, scale, unit = (torch.rand(size, generator=draw) for size in (q, q, d))
    ends = torch.full((q,), hold)
    frame = Frame(geometry, 1, 0, choices, kept, centre - 0.5, scale + 0.5,
                  -2 * ends, 2 * ends, 0.3 * unit + 0.1)  # fmt: skip
    shape = LatentShape(3, 4, features=q, outputs=d, latent=2, hidden=hidden, gates=gates)
    network = LatentNetwork.initial(shape, torch.randn(3, 4, 2, generator=draw), draw)
    held = {"low": -ends, "high": ends}
    if mixed:
        held["mix"] = torch.eye(q) + 0.3 * torch.rand(q, q, generator=draw)
    bound = torch.full((d,), np.inf)
    return FrameEnsemble(frame, network.with_tensors(**held), -bound, bound)


def random_network(gates: int = 2) -> LatentNetwork:
    shape = LatentShape(3, 5, features=4, outputs=2, latent=3, hidden=(8, 6), gates=gates)
    draw = torch.Generator().manual_seed(0)
    return LatentNetwork.initial(shape, torch.randn(3, 5, 3, generator=draw), draw)
