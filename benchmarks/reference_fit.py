"""The straightforward way to fit one member: what `fitting.py` is measured against.

One module of linear layers, an agent and an action as one-hot vectors, a list of tuples of tensors
behind a `DataLoader`, automatic differentiation and plain Adam. Nothing in it is made slow on
purpose; it is how the paper's method is written down first.
"""

from __future__ import annotations

import itertools
import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from persim_gym.offline.transitions import Transitions

#: Agent and action one-hot (a continuous action as it is), state, change of state.
Sample = tuple[Tensor, Tensor, Tensor, Tensor]


def layers(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        parts += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class ReferenceNet(nn.Module):
    """Three encoders, and the sum over the rank of the products of what they give."""

    def __init__(
        self,
        agents: int,
        obs_dim: int,
        action_inputs: int,
        rank: int,
        state_hidden: tuple[int, ...],
        action_hidden: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.rank = rank
        self.agent = layers((agents, rank))
        self.action = layers((action_inputs, *action_hidden, rank))
        self.state = layers((obs_dim, *state_hidden, obs_dim * rank))

    def forward(self, agent: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """Change of state ``[n, d]`` of one-hot agents, states and one-hot actions."""
        factors = self.agent(agent) * self.action(action)
        g = self.state(state).view(len(state), -1, self.rank)
        change: Tensor = (g * factors[:, None]).sum(-1)
        return change


def samples(data: Transitions, num_actions: int) -> list[Sample]:
    """The data as a plain list, discrete actions one-hot.

    Rows of the same agent share one tensor: the list of all one-hot agents would not fit into
    every machine's memory, and its batches take the same time to put together.
    """
    agents, actions = torch.eye(data.num_agents), torch.eye(num_actions)
    change = torch.as_tensor(data.next_obs - data.obs)
    return [
        (agents[agent], state, actions[action], target)
        for agent, state, action, target in zip(
            data.agent.tolist(), torch.as_tensor(data.obs), data.action.tolist(), change,
            strict=True,
        )
    ]  # fmt: skip


class ReferenceFit:
    """One member's fit, of which any number of batches can be run.

    Args:
        data: The list.
        net: The member.
        batch_size: Transitions in a batch.
    """

    def __init__(self, data: list[Sample], net: ReferenceNet, batch_size: int) -> None:
        self.net = net
        generator = torch.Generator().manual_seed(0)
        # DataLoader takes any sequence for a data set, which its types do not say.
        self.loader: DataLoader[Sample] = DataLoader(
            data,  # type: ignore[arg-type]
            batch_size=batch_size,
            shuffle=True,
            generator=generator,
        )
        self.optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        self.losses: list[float] = []

    def seconds_an_epoch(self, batches: int) -> float:
        """Run some batches; the seconds that a whole epoch of such batches would take."""
        batches = min(batches, len(self.loader))
        loader = iter(self.loader)
        began = time.perf_counter()
        for agent, state, action, target in itertools.islice(loader, batches):
            self.optimiser.zero_grad()
            loss = nn.functional.mse_loss(self.net(agent, state, action), target)
            loss.backward()
            self.optimiser.step()
            self.losses.append(loss.item())
        return (time.perf_counter() - began) * len(self.loader) / batches
