"""Recording: one trajectory for each agent of a population, as a Minari data set.

Populations of one's own, scripted policies, mixtures with random actions; what is stored; and the
replay, which is exact to the last bit.
"""

from __future__ import annotations

import gymnasium as gym
import minari
import numpy as np
import shared
from numpy.typing import NDArray

from persim_gym.offline import EpsilonMixture, read_transitions, record


def upright(obs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Push the cart to the side to which the pole falls: observations [n, 4] -> actions [n]."""
    return (obs[:, 2] + 0.5 * obs[:, 3] > 0).astype(np.int64)


def describe(data: minari.MinariDataset) -> None:
    returns = [episode.rewards.sum() for episode in data]
    print(
        f"{data.id}: {data.total_episodes} episodes, {data.total_steps} transitions, "
        f"mean return {np.mean(returns):.1f}"
    )


def replay_is_exact(data: minari.MinariDataset) -> bool:
    env: gym.Env = data.recover_environment()
    equal = True
    metadata = data.storage.get_episode_metadata(data.episode_indices)
    for episode, about in zip(data, metadata, strict=True):
        obs, _ = env.reset(seed=int(about["seed"]), options=about["options"])
        seen, rewards = [obs], []
        for action in episode.actions:
            obs, reward, terminated, truncated, _ = env.step(action)
            seen.append(obs)
            rewards.append(reward)
        equal &= np.array_equal(np.stack(seen), episode.observations)
        equal &= np.array_equal(rewards, episode.rewards)
        equal &= (terminated, truncated) == (episode.terminations[-1], episode.truncations[-1])
    return bool(equal)


def main(quick: bool) -> None:
    describe(shared.cartpole_data(quick))

    # Own agents: 20 draws from ranges narrower than the paper's, two episodes each.
    narrow = {"size": 20, "seed": 1, "ranges": {"force": [8.0, 12.0]}}
    own = {"agents": 20, "episodes": 2, "population": narrow, "overwrite": True}
    scripted = record("PerSim-CartPole-v0", upright, dataset_id="persim/examples/upright-v0", **own)
    describe(scripted)
    mixed = record(
        "PerSim-CartPole-v0",
        EpsilonMixture(upright, epsilon=0.4),
        dataset_id="persim/examples/upright-eps-40-v0",
        **own,
    )
    describe(mixed)
    print(f"replayed bit for bit: {replay_is_exact(mixed)}")

    transitions = read_transitions(mixed)
    print(
        f"as flat arrays: {len(transitions)} transitions of {transitions.num_agents} agents, "
        f"obs {transitions.obs.shape}, action {transitions.action.shape}, "
        f"{int(transitions.terminated.sum())} ended and {int(transitions.truncated.sum())} cut off"
    )


if __name__ == "__main__":
    given = shared.parser(__doc__).parse_args()
    with shared.workplace(given.quick):
        main(given.quick)
