"""What is mended in tianshou's algorithms, each change by what it does."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from persim_gym.baselines.networks import Mlp
from persim_gym.policies.randomness import global_randomness_kept

pytestmark = pytest.mark.slow  # tianshou takes a second to import

D, A, N, SAMPLES = 3, 2, 16, 4
BOX = Box(-1.0, 1.0, (A,))


def mended() -> Any:
    """Imported when it is needed: tianshou takes a second, in every process that collects tests."""
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")
    return importlib.import_module("persim_gym.baselines.tianshou_fixes")


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with global_randomness_kept():
        torch.manual_seed(0)
        yield


def batch() -> Any:
    return mended().Batch(
        obs=torch.randn(N, D), act=torch.rand(N, A) * 1.8 - 0.9, obs_next=torch.randn(N, D),
        rew=torch.randn(N), done=torch.zeros(N), info=mended().Batch(),
    )  # fmt: skip


def cql(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "imitation": 0, "entropy_in_target": False, "cql_weight": 5.0,
        "num_repeat_actions": SAMPLES, "policy_optim": mended().adam(1e-3),
        "alpha": mended().AutoAlpha(-float(A), 0.0, mended().adam(1e-3)),
    }  # fmt: skip
    policy = mended().SACPolicy(
        actor=mended().Gaussian(Mlp(D, 8, 2 * A)), deterministic_eval=False, action_space=BOX
    )
    return mended().MendedCQL(
        policy=policy, critic_optim=mended().adam(1e-3),
        critic=mended().Critic(Mlp(D + A, 8, 1)), critic2=mended().Critic(Mlp(D + A, 8, 1)),
        **{**options, **changes},
    )  # fmt: skip


def test_random_actions_of_cql_are_of_the_whole_action_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm = cql()
    seen: list[Any] = []
    beside = algorithm._beside
    monkeypatch.setattr(
        algorithm, "_beside", lambda *given: (seen.append(given), beside(*given))[1]
    )
    for _ in range(20):
        algorithm._update_with_batch(batch())
    constant = np.log(0.5**A)
    drawn = [a for _, a, density in seen if float((density - constant).abs().max()) < 1e-6]
    assert len(drawn) == 20
    actions = torch.cat(drawn)
    assert actions.shape == (20 * N * SAMPLES, A)
    assert actions.abs().max() <= 1
    # Uniform over the range in each coordinate, and not one point of it.
    for column in actions.T:
        shares = torch.histc(column, 4, -1, 1) / len(column)
        assert (shares - 0.25).abs().max() < 0.05


def test_the_soft_maximum_of_cql_is_over_all_samples_of_an_observation() -> None:
    algorithm = cql()
    rows = torch.randn(N, D).repeat_interleave(SAMPLES, dim=0)
    for first, second in (
        algorithm._calc_pi_values(rows, rows),
        algorithm._calc_random_values(rows, torch.zeros(len(rows), A)),
    ):
        assert first.shape == second.shape == (N, SAMPLES)
    # Row i of the values is of observation i: with one and the same action all are alike.
    action, none = torch.zeros(len(rows), A), torch.zeros(len(rows), 1)
    values, _ = algorithm._beside(rows, action, none)
    expected = algorithm.critic(rows[::SAMPLES], action[::SAMPLES])
    torch.testing.assert_close(values, expected.expand(N, SAMPLES))


@pytest.mark.parametrize("counted", [False, True])
def test_entropy_in_the_targets_of_cql_is_a_choice(counted: bool) -> None:
    algorithm = cql(entropy_in_target=counted)
    with torch.no_grad():
        _, log_prob = algorithm._policy_pred(torch.randn(N, D))
    assert bool(log_prob.abs().sum() > 0) == counted
    assert algorithm._policy_pred(torch.randn(N, D))[1].abs().sum() > 0  # elsewhere it counts


def test_the_policy_of_cql_imitates_at_first() -> None:
    algorithm = cql(imitation=100, policy_optim=mended().adam(3e-2))
    rows = batch()
    rows.act = torch.tensor([0.5, -0.5]).expand(N, A).clone()
    for _ in range(100):
        algorithm._update_with_batch(rows)
    (mean, _), _ = algorithm.policy.actor(rows.obs)
    np.testing.assert_allclose(torch.tanh(mean).detach(), rows.act, atol=0.1)
    assert algorithm._acted is not None
    algorithm._update_with_batch(rows)
    assert algorithm._acted is None


def test_targets_of_bcq_see_perturbed_actions() -> None:
    class Moved(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, obs: Any, action: Any) -> Any:
            return action + 0.25

    seen: list[Any] = []

    class Looking(mended().Critic):
        def forward(self, obs: Any, action: Any) -> Any:
            if not torch.is_grad_enabled():
                seen.append(action)
            return super().forward(obs, action)

    encoder = torch.nn.Sequential(Mlp(D + A, 8, 8), torch.nn.ReLU())
    vae = mended().VAE(
        encoder=encoder, decoder=Mlp(D + 4, 8, A), hidden_dim=8, latent_dim=4, max_action=0.5
    )
    adam = mended().adam(1e-3)
    policy = mended().BCQPolicy(
        actor_perturbation=Moved(), action_space=BOX, critic=Looking(Mlp(D + A, 8, 1)), vae=vae
    )
    algorithm = mended().MendedBCQ(
        policy=policy, actor_perturbation_optim=adam, critic_optim=adam, vae_optim=adam,
        critic2=Looking(Mlp(D + A, 8, 1)),
    )  # fmt: skip
    algorithm._update_with_batch(batch())
    assert len(seen) == 2  # both target critics
    assert max(float(actions.max()) for actions in seen) > 0.5  # further than the model samples


@pytest.mark.parametrize("kind", ["bcq", "cql"])
def test_targets_of_discrete_methods_move_a_little_in_every_step(kind: str) -> None:
    space, adam = Discrete(A), mended().adam(1e-2)
    algorithm: Any
    if kind == "bcq":
        policy: Any = mended().DiscreteBCQPolicy(
            model=mended().Stateless(Mlp(D, 8, A), A),
            imitator=mended().Stateless(Mlp(D, 8, A), A),
            action_space=space,
        )
        algorithm = mended().MendedDiscreteBCQ(policy=policy, optim=adam, tau=0.25)
    else:
        policy = mended().QRDQNPolicy(
            model=mended().Stateless(Mlp(D, 8, 3 * A), A, 3), action_space=space
        )
        with warnings.catch_warnings():
            algorithm = mended().MendedDiscreteCQL(
                policy=policy, optim=adam, num_quantiles=3, tau=0.25
            )
    rows = batch()
    rows.act = torch.zeros(N, dtype=torch.int64)
    rows.returns = torch.ones(N, 1 if kind == "bcq" else 3)
    target, own = (
        next(module.parameters()) for module in (algorithm.model_old, algorithm.policy.model)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        algorithm._update_with_batch(rows)
        before, moved = target.detach().clone(), own.detach().clone()
        algorithm._update_with_batch(rows)
    assert not torch.equal(before, moved)
    torch.testing.assert_close(target.detach(), 0.75 * before + 0.25 * moved)
