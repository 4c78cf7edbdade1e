"""Time of an SfBC decision: 32 candidates of the diffusion model, and the critic's choice.

It stands beside the time that the multiply-adds of its layers would take at the speed of a large
matrix product of torch on this machine, with the same threads. What depends on the state alone, or
on the time alone, is computed once and not for every candidate, and is counted so.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from measure import Effort, Row, amount, interleave, main, multiply_add, repeated, row
from samples import transitions
from torch import nn

from persim_gym.baselines import SfBC
from persim_gym.baselines.sfbc.network import NoiseNetwork

#: Observations that are decided upon at once.
BATCHES = (1, 25)


def rows(effort: Effort) -> Iterator[Row]:
    data = transitions("half-cheetah", 2, effort.scaled(200, 20))
    policy = SfBC.fit(data, updates=1, critic_updates=1, rounds=1, planned=1, progress=False)
    k, steps = policy.config.candidates, policy.config.steps
    for n in BATCHES:
        obs = np.tile(data.obs[:1], (n, 1))
        times = interleave(
            effort,
            ours=repeated(lambda obs=obs: policy.predict(obs), effort.seconds),
            machine=multiply_add(effort),
        )
        needed = n * steps * multiply_adds(policy._behaviour.network, k)
        least = needed * times["machine"]
        yield row(
            f"SfBC decision, {n} at once, {k} candidates, {steps} steps",
            f"{amount(float(np.median(times['ours'])) / n, 's')} each",
            f"matrix product: {amount(float(np.median(least)) / n, 's')} each",
            times["ours"] / least,
            better="less",
        )


def multiply_adds(network: NoiseNetwork, k: int) -> int:
    """Of one state and one step of the sampler, for ``k`` candidates."""
    per_candidate = per_state = 0
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear) or name in ("state", "join"):
            continue
        if name == "mix" or name.endswith("condition"):
            per_state += layer.weight.numel()
        else:
            per_candidate += layer.weight.numel()
    return per_state + k * per_candidate


if __name__ == "__main__":
    main({"sfbc": rows})
