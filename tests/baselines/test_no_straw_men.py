"""Each baseline reaches what it must on data where it must: an expert's, of one agent.

Small fits are in the quick suite; the slow ones have the usual networks. A share is of what lies
between random actions and the expert.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import BCQ, CQL
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.returns import episode_returns
from persim_gym.planning import MPC
from tests.baselines.small import Push, PushExpert, PushTask, episodes_of

#: An agent of no test: settings are tuned on such.
AGENT = 10


@pytest.fixture(autouse=True)
def _needs_tianshou() -> None:
    """Not where the module is imported: that takes more than a second, also if nothing is run."""
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")


def share(task: Any, dynamics: Any, agent: int, policy: Any, expert: Any) -> float:
    """Of what lies between random actions and an expert, how much a policy earns."""

    def mean(actor: Any) -> float:
        return float(episode_returns(task, dynamics, [agent], actor, 20, seed=9).mean())

    least = mean("random")
    return (mean(policy) - least) / (mean(expert) - least)


@pytest.fixture(scope="module")
def cartpole() -> Any:
    suite = SUITES["cartpole"]
    task, dynamics = suite.task(), suite.dynamics(suite.population())
    expert = MPC("cartpole", AGENT, seed=0)
    data = episodes_of(task, dynamics, _Of(expert, AGENT), AGENT, 5)
    return task, dynamics, data


class _Of:
    """A planner for one agent, without its memory of episodes."""

    def __init__(self, mpc: MPC, agent: int) -> None:
        self.mpc, self.agent = mpc, agent

    def predict(self, obs: Any, *_: Any, **__: Any) -> Any:
        return self.mpc.predict(obs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BCQ, CQL])
def test_small_fits_do_as_a_clear_expert_does(kind: Any) -> None:
    task, dynamics = PushTask(), Push()
    data = episodes_of(task, dynamics, PushExpert(), 2, 10)
    small = {"updates": 400, "hidden": [32, 32], "batch_size": 32, "learning_rate": 3e-3}
    if kind is BCQ:
        small |= {"behaviour_hidden": 32, "choices": 20, "candidates": 4}
    else:
        small |= {"samples": 2, "policy_learning_rate": 3e-3}
    fitted = kind.fit(data, task=task, agent=2, progress=False, **small)
    assert share(task, dynamics, 2, fitted, PushExpert()) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BCQ, CQL])
def test_discrete_methods_earn_what_an_expert_does(kind: Any, cartpole: Any) -> None:
    task, dynamics, data = cartpole
    assert np.add.reduceat(data.reward, data.starts).min() == 200
    fitted = kind.fit(data, agent=AGENT, updates=5000, progress=False)
    returns = episode_returns(task, dynamics, [AGENT], fitted, 20, seed=9)
    assert returns.mean() >= 0.9 * 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BCQ, CQL])
def test_continuous_methods_earn_what_an_expert_does(kind: Any) -> None:
    task, dynamics = PushTask(), Push()
    data = episodes_of(task, dynamics, PushExpert(), 2, 10)
    fitted = kind.fit(data, task=task, agent=2, updates=1500, progress=False)
    assert share(task, dynamics, 2, fitted, PushExpert()) >= 0.9
