"""Training inside a simulator: a DQN that has never met the true agent learns to balance its pole.

It learns in agent 3's personalised simulator, in many lanes at once, and the policy that does best
there is tried in the true environment. A scalar learned environment goes to SB3 as it is, a vector
environment through ``to_sb3``.
"""

from __future__ import annotations

import time
from pathlib import Path

import gymnasium as gym
import shared
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from persim_gym.learned import PerSim, to_sb3

AGENT = 3
SETTINGS = {
    "learning_rate": 1e-3,
    "learning_starts": 1000,
    "batch_size": 64,
    "target_update_interval": 256,
    "exploration_fraction": 0.3,
    "policy_kwargs": {"net_arch": [128, 128]},
    "seed": 0,
}


def look(sim: PerSim) -> None:
    env = sim.env(agent=AGENT)
    env.action_space.seed(0)
    env.reset(seed=0)
    over, steps, info = False, 0, {}
    while not over:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        over, steps = terminated or truncated, steps + 1
    said = {key: info[key].item() for key in ("disagreement", "clipped")}
    print(f"random episode in the simulator: {steps} steps, terminated {terminated}, info {said}")


def score(model: DQN, env: Monitor | VecMonitor, episodes: int) -> str:
    mean, deviation = evaluate_policy(model, env, n_eval_episodes=episodes)
    return f"{mean:.1f} +- {deviation:.1f}"


def main(folder: Path, steps: int, lanes: int, episodes: int, quick: bool) -> None:
    sim = shared.cartpole_simulator(folder, quick)
    look(sim)
    true_env = Monitor(gym.make("PerSim-CartPole-v0", agent=AGENT))

    began = time.perf_counter()
    model = DQN("MlpPolicy", sim.env(agent=AGENT), **SETTINGS).learn(steps // 10)
    seconds = time.perf_counter() - began
    print(f"scalar environment: {steps // 10:,} steps of training in {seconds:.1f} s")
    print(f"  return in the true agent {AGENT}: {score(model, true_env, episodes)}")

    # Random behaviour keeps near the middle of the track. The guard would end episodes that leave
    # it, and a policy would never learn to come back: it has to trust the simulator further out.
    envs, judge = (
        VecMonitor(to_sb3(sim.vector_env(lanes, agents=AGENT, guard=False))) for _ in range(2)
    )
    keep_best = EvalCallback(
        judge,
        best_model_save_path=str(folder / "dqn"),
        eval_freq=steps // lanes // 10,
        n_eval_episodes=episodes,
        verbose=0,
    )
    began = time.perf_counter()
    model = DQN("MlpPolicy", envs, train_freq=8, gradient_steps=32, **SETTINGS)
    model.learn(steps, callback=keep_best)
    seconds = time.perf_counter() - began
    print(f"{lanes} lanes: {steps:,} steps of training in {seconds:.1f} s, the best policy has")
    best = DQN.load(folder / "dqn" / "best_model")
    print(f"  return in the simulator: {score(best, judge, episodes)}")
    print(f"  return in the true agent {AGENT}: {score(best, true_env, episodes)}")


if __name__ == "__main__":
    given = shared.parser(__doc__).parse_args()
    sizes = {"steps": 50_000, "lanes": 16, "episodes": 20}
    if given.quick:
        sizes = {"steps": 6_000, "lanes": 8, "episodes": 4}
    with shared.workplace(given.quick) as workplace:
        main(workplace, quick=given.quick, **sizes)
