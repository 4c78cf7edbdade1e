"""Fitting: the personalised simulators of all agents from one random trajectory each.

Held-out error, saving and loading, open-loop prediction of unseen actions against the truth, where
the members disagree, and what the latent factors have found out about the hidden covariates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shared
from numpy.typing import NDArray

from persim_gym.envs import find_suite
from persim_gym.learned import PerSim
from persim_gym.offline import read_transitions


def rollout_error(sim: PerSim, agents: NDArray[np.int64], horizon: int = 50) -> float:
    """RMSE of open-loop predictions of the true agents 0 to 4 by the simulators of ``agents``.

    The actions are those of a balancing policy that the random data do not contain.
    """
    suite = find_suite("cartpole")
    truth = suite.dynamics(suite.population())
    state = start = suite.task().sample_start(np.random.default_rng(7), 5)
    true, actions = [], []
    for _ in range(horizon):
        action = (state[:, 2] + 0.5 * state[:, 3] > 0).astype(np.int64)
        state = truth.step(np.arange(5), state, action)
        true.append(state)
        actions.append(action)
    predicted = sim.rollout(agents, start, np.stack(actions, axis=1)).mean(0)  # [n, h, d]
    return float(np.sqrt(np.mean((predicted - np.stack(true, axis=1)) ** 2)))


def explained(factors: NDArray[np.float32], covariate: NDArray[np.float64]) -> float:
    """R2 of a linear map from one member's latent factors [N, r] to a covariate [N]."""
    inputs = np.column_stack([factors, np.ones(len(factors))])
    weights, *_ = np.linalg.lstsq(inputs, covariate, rcond=None)
    residual = covariate - inputs @ weights
    return float(1 - residual.var() / covariate.var())


def main(folder: Path, quick: bool) -> None:
    data = shared.cartpole_data(quick)
    options = {"epochs": 120, "spare_members": 0} if quick else {}
    sim = PerSim.fit(data, **options)
    metrics = sim.card["metrics"]
    print(
        f"{sim}: {metrics['seconds']:.1f} s, one-step RMSE {metrics['heldout_rmse']:.2g} on "
        f"{metrics['heldout_transitions']} held-out transitions"
    )

    loaded = PerSim.load(sim.save(folder / "cartpole"))
    agents = np.arange(5)
    obs, actions = np.zeros((5, 4), dtype=np.float32), np.ones(5, dtype=np.int64)
    predicted = loaded.predict(agents, obs, actions)
    print(f"loaded simulator equal: {np.array_equal(predicted, sim.predict(agents, obs, actions))}")
    print(f"one push moves the cart of agents 0 to 4 by {predicted[:, 1].round(3)} m/s")

    own, other = rollout_error(sim, agents), rollout_error(sim, np.roll(agents, 1))
    print(f"RMSE over 50 open-loop steps: own simulator {own:.3f}, another agent's {other:.3f}")

    far = np.tile(np.array([2.0, 3.0, 0.2, 3.0], dtype=np.float32), (5, 1))
    near = sim.disagreement(agents, obs, actions).mean()
    away = sim.disagreement(agents, far, actions).mean()
    print(f"disagreement of the members: {near:.2g} upright, {away:.2g} far from all data")

    population = find_suite("cartpole").population()
    recorded = np.unique(read_transitions(data).agent)
    factors = sim.latent_factors[0, recorded]  # of the first member, [N, r]
    for name in population.names:
        share = explained(factors, population.column(name)[recorded])
        print(f"latent factors explain the hidden {name}: R2 {share:.3f}")


if __name__ == "__main__":
    given = shared.parser(__doc__).parse_args()
    with shared.workplace(given.quick) as workplace:
        main(workplace, given.quick)
