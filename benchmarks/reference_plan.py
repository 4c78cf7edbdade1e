"""The straightforward way to plan: what `planning.py` is measured against.

A loop over members and steps around the modules of `reference_fit.py`, one-hot agents and actions,
no gradients.
"""

from __future__ import annotations

import torch
from gymnasium.spaces import Discrete
from reference_fit import ReferenceNet
from torch import Tensor, nn

from persim_gym.learned import PerSim


def reference_members(sim: PerSim) -> list[ReferenceNet]:
    """A simulator's members as modules, with the same weights."""
    return [_member(sim, m) for m in range(sim.members)]


@torch.no_grad()
def _member(sim: PerSim, m: int) -> ReferenceNet:
    network = sim.ensemble.network
    s, t = network.shape, network.tensors
    action_inputs = s.num_actions or s.action_dim
    net = ReferenceNet(
        s.num_agents, s.input_dim, action_inputs, s.rank, s.state_hidden, s.action_hidden
    )
    # Tables and layers are stored input first, as the factors of one-hot vectors are looked up.
    stored = {
        "agent": [("agent.factors", "agent.bias")],
        "action": [("action.factors", "action.bias")] if s.num_actions else network.stack("action"),
        "state": network.stack("state"),
    }
    for name, encoder in (("agent", net.agent), ("action", net.action), ("state", net.state)):
        for linear, (weight, bias) in zip(_linears(encoder), stored[name], strict=False):
            linear.weight.copy_(t[weight][m].T)
            linear.bias.copy_(t[bias][m, 0])
    head = _linears(net.state)[-1]
    head.weight.copy_(t["head.weight"][m])
    head.bias.copy_(t["head.bias"][m, :, 0])
    return net


def _linears(encoder: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in encoder if isinstance(layer, nn.Linear)]


class ReferencePlanner:
    """Scores action sequences, and decides, one problem at a time.

    Args:
        sim: The simulator whose weights, units and task are used.
    """

    def __init__(self, sim: PerSim) -> None:
        self.task, self.scaling = sim.task, sim.ensemble.scaling
        self.agents = sim.num_agents
        self.members = reference_members(sim)

    def _next(self, net: ReferenceNet, agent: Tensor, state: Tensor, action: Tensor) -> Tensor:
        s = self.scaling
        if isinstance(self.task.action_space, Discrete):
            action = torch.nn.functional.one_hot(action, int(self.task.action_space.n)).float()
        change = net(agent, (state - s.input_mean) / s.input_scale, action)
        return torch.clamp(state + change * s.target_scale + s.target_mean, s.low, s.high)

    @torch.no_grad()
    def returns(self, agent: int, obs: Tensor, actions: Tensor, *, mean: bool) -> Tensor:
        """Returns ``[k]`` of action sequences ``[k, h(, a)]``, averaged over the members.

        Args:
            agent: The agent.
            obs: Where it is ``[d]``.
            actions: The sequences.
            mean: All members go on from their mean, and not each from its own prediction.
        """
        k, h = actions.shape[:2]
        one_hot = torch.zeros(k, self.agents)
        one_hot[:, agent] = 1
        states = [obs.repeat(k, 1) for _ in self.members]
        totals = [torch.zeros(k) for _ in self.members]
        alive = [torch.ones(k, dtype=torch.bool) for _ in self.members]
        for t in range(h):
            action = actions[:, t]
            following = [
                self._next(net, one_hot, state, action)
                for net, state in zip(self.members, states, strict=True)
            ]
            for i, (before, after) in enumerate(zip(states, following, strict=True)):
                reward = torch.as_tensor(self.task.reward(before, action, after))
                totals[i] += torch.where(alive[i], reward, 0.0)
                alive[i] &= ~torch.as_tensor(self.task.terminated(after))
            if mean:
                following = [torch.stack(following).mean(0)] * len(self.members)
            states = following
        return torch.stack(totals).mean(0)

    def shoot(self, agent: int, obs: Tensor, candidates: int, horizon: int) -> Tensor:
        """Random shooting: the first action of the best of random sequences."""
        n = int(self.task.action_space.n)  # type: ignore[union-attr]
        actions = torch.randint(n, (candidates, horizon))
        returns = self.returns(agent, obs, actions, mean=False)
        return actions[returns.argmax(), 0]

    def refine(
        self, agent: int, obs: Tensor, candidates: int, horizon: int, elites: int, rounds: int
    ) -> Tensor:
        """The cross-entropy method: the first action of the last elites' mean."""
        shape = (horizon, *self.task.action_space.shape)  # type: ignore[misc]
        mean, deviation = torch.zeros(shape), torch.full(shape, 0.5)
        for _ in range(rounds):
            actions = (mean + deviation * torch.randn(candidates, *shape)).clamp(-1, 1)
            best = self.returns(agent, obs, actions, mean=True).topk(elites).indices
            mean, deviation = actions[best].mean(0), actions[best].std(0)
        return mean[0]
