"""The critic: returns of the data, planned ahead inside the data, and what they say of actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Critic(nn.Module):
    """Returns of actions in states, in units of the deviation of the returns it learns from."""

    def __init__(
        self, state_size: int, action_size: int, widths: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = [state_size + action_size, *widths, 1]
        self.layers = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        self.begin(generator)

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @torch.no_grad()
    def begin(self, generator: torch.Generator) -> None:
        """Take other weights, as untaught as the first ones."""
        for layer in self._linear():
            bound = float(layer.in_features) ** -0.5
            for values in layer.parameters():
                drawn = torch.empty(values.shape).uniform_(-bound, bound, generator=generator)
                values.copy_(drawn)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Values ``[...]`` of states ``[..., d]`` and actions ``[..., a]``."""
        x = torch.cat([states, actions], dim=-1)
        for layer in self._linear()[:-1]:
            x = nn.functional.silu(layer(x))
        value: Tensor = self._linear()[-1](x).squeeze(-1)
        return value

    def of_samples(self, states: Tensor, actions: Tensor) -> Tensor:
        """Values ``[n, k]`` of several actions ``[n, k, a]`` in each of the states ``[n, d]``.

        The states' part of the first layer is computed once, not for each action.
        """
        first, *others = self._linear()
        d = states.shape[-1]
        seen = nn.functional.linear(states, first.weight[:, :d], first.bias)
        x = seen[:, None] + nn.functional.linear(actions, first.weight[:, d:])
        for layer in others:
            x = layer(nn.functional.silu(x))
        return x.squeeze(-1)


def soft_maximum(values: Tensor, sharpness: float) -> Tensor:
    """Means ``[n]`` of values ``[n, k]``, weighted by ``exp(sharpness * value)``."""
    return ((sharpness * values).softmax(dim=-1) * values).sum(dim=-1)


def choose(values: Tensor, sharpness: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw some of the samples without replacement, by weights ``exp(sharpness * value)``.

    Args:
        values: Of the samples ``[n, k]``.
        sharpness: At 0 all are equally likely; the larger, the surer the best.
        count: How many to draw of each row.
        generator: All randomness.

    Returns:
        Indices ``[n, count]``.
    """
    # The largest of log-weights plus Gumbel noise are draws without replacement.
    noise = torch.rand(values.shape, generator=generator, device=values.device)
    gumbel = -(-noise.clamp(1e-12, 1 - 1e-7).log()).log()
    return (sharpness * values + gumbel).topk(count, dim=-1).indices


def planned_returns(
    rewards: NDArray[np.float64],
    lengths: NDArray[np.int64],
    ends: NDArray[np.float64],
    discount: float,
    values: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Discounted returns along recorded episodes that may go on better than they did.

    Backwards along each episode, ``R_t = r_t + discount max(R_{t+1}, V(s_{t+1}))``: after each
    action the better of going on as the data did and of what the samples in the next state are
    worth. Without values these are the data's own returns.

    Original: the authors' code takes ``max(r_t + discount R_{t+1}, V(s_t))``, by which a bad
    action is worth what the best one in its state is, and the critic of the second round can no
    longer tell them apart. This is the paper's formula.

    Args:
        rewards: Of all transitions, episode after episode ``[T]``.
        lengths: Transitions of each episode ``[E]``.
        ends: What is worth the state after each episode's last transition: 0 where the episode was
            over ``[E]``.
        discount: Factor on the next step.
        values: ``V`` of the states ``[T]``.

    Returns:
        ``[T]``.
    """
    starts = np.cumsum(lengths) - lengths
    returns = np.empty(len(rewards))
    after = np.asarray(ends, dtype=np.float64).copy()
    # All episodes at once, from their last steps on; the longest first, so that those that still
    # have a step are always the first ones.
    order = np.argsort(-lengths, kind="stable")
    starts, lengths, after = starts[order], lengths[order], after[order]
    running = np.searchsorted(-lengths, -np.arange(lengths.max()), side="left")
    for back, count in enumerate(running):
        rows = starts[:count] + lengths[:count] - 1 - back
        returns[rows] = after[:count] = rewards[rows] + discount * after[:count]
        if values is not None:  # the row before goes on from this one's state
            after[:count] = np.maximum(after[:count], values[rows])
    return returns


def own_ends(
    rewards: NDArray[np.float64],
    lengths: NDArray[np.int64],
    over: NDArray[np.bool_],
    discount: float,
) -> NDArray[np.float64]:
    """What the states after the episodes are worth before there is a critic ``[E]``.

    Nothing where an episode was over. Where it was cut off, its mean reward for ever: with 0 the
    last steps before a time limit would pass for bad ones.
    """
    starts = np.cumsum(lengths) - lengths
    means = np.add.reduceat(rewards, starts) / lengths
    return np.where(over, 0.0, means / (1 - discount))
