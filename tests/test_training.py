from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from persim_gym import training
from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.returns import episode_returns
from persim_gym.learned.simulator import PerSim
from persim_gym.training import (
    TrainConfig,
    _BestInSimulator,
    _lanes,
    _TrainingEnv,
    default_algorithm,
    default_config,
    load_policy,
    save_policy,
    train_in_simulator,
)

pytestmark = pytest.mark.usefixtures("root")

sb3 = pytest.importorskip("stable_baselines3")

SMALL = TrainConfig(
    evaluations=2,
    evaluation_episodes=2,
    settings={"learning_starts": 20, "policy_kwargs": {"net_arch": [8]}, "buffer_size": 200},
)


def wary(sim: PerSim) -> PerSim:
    """The same simulator with a guard that stops every step."""
    experience = dataclasses.replace(sim.experience, disagreement_limit=0.0)
    return PerSim(sim.ensemble, sim.task, experience, sim.card)


# -- the environment -------------------------------------------------------------------------------


def test_exploring_starts_are_anywhere_in_the_range_of_the_data(cartpole):
    low, high = cartpole.experience.low, cartpole.experience.high

    def starts(share: float) -> np.ndarray:
        env = _TrainingEnv(cartpole, 1, TrainConfig(exploring_starts=share))
        return np.stack([env.reset(seed=0 if i == 0 else None)[0] for i in range(200)])

    near = np.abs(starts(0.0)).max()
    assert near <= 0.05
    wide = starts(1.0)
    assert ((wide >= low) & (wide <= high)).all()
    assert not cartpole.task.terminated(wide).any()
    assert (np.ptp(wide[:, [1, 3]], axis=0) > 0.8 * (high - low)[[1, 3]]).all()
    share = (np.abs(starts(0.3)).max(axis=1) > 0.05).mean()
    assert 0.2 < share < 0.4


def test_given_options_are_not_overruled(cartpole):
    env = _TrainingEnv(cartpole, 1, TrainConfig(exploring_starts=1.0))
    obs, _ = env.reset(seed=0, options={"state": np.zeros(4)})
    np.testing.assert_array_equal(obs, 0)


def test_the_guards_stop_is_an_end_with_its_price_or_a_truncation(cartpole):
    for config, expected in (
        (TrainConfig(halt_reward=-7.0), (-7.0, True, False)),
        (TrainConfig(), (1.0, False, True)),
        (TrainConfig(guard=False), (1.0, False, False)),
    ):
        env = _TrainingEnv(wary(cartpole), 1, config)
        env.reset(seed=0, options={"state": np.zeros(4)})
        _, *rest, info = env.step(0)
        assert tuple(rest) == expected
        assert bool(info["guard"]) == config.guard


def test_lanes_are_the_same_environment_side_by_side(cartpole):
    for config, reward, over, cut in (
        (TrainConfig(lanes=3, halt_reward=-7.0), -7.0, True, False),
        (TrainConfig(lanes=3), 1.0, True, True),
        (TrainConfig(lanes=3, guard=False), 1.0, False, False),
    ):
        envs = _lanes(wary(cartpole), 1, config)
        envs.seed(0)
        envs.reset()
        _, rewards, done, infos = envs.step(np.zeros(3, dtype=np.int64))
        assert rewards.tolist() == [reward] * 3
        assert done.tolist() == [over] * 3
        assert [info.get("TimeLimit.truncated", False) for info in infos] == [cut] * 3
    wide = _lanes(cartpole, 1, TrainConfig(lanes=200, exploring_starts=0.3))
    wide.seed(0)
    assert 0.2 < (np.abs(wide.reset()).max(axis=1) > 0.05).mean() < 0.4
    short = _lanes(cartpole, 1, TrainConfig(lanes=2, guard=False, episode_steps=2))
    short.seed(0)
    short.reset()
    assert [short.step(np.zeros(2, dtype=np.int64))[2].all() for _ in range(3)] == [0, 1, 0]


def test_a_penalty_is_the_price_of_disagreement(cartpole):
    price = TrainConfig(penalty=2.0, guard=False, lanes=2)
    env, envs = _TrainingEnv(cartpole, 1, price), _lanes(cartpole, 1, price)
    env.reset(seed=0)
    _, reward, *_, info = env.step(0)
    assert info["disagreement"] > 0
    assert reward == pytest.approx(1.0 - 2.0 * info["disagreement"])
    envs.seed(0)
    envs.reset()
    _, rewards, _, infos = envs.step(np.zeros(2, dtype=np.int64))
    assert rewards == pytest.approx([1.0 - 2.0 * own["disagreement"] for own in infos])


def test_the_episodes_length_is_an_option(cartpole):
    env = _TrainingEnv(cartpole, 1, TrainConfig(episode_steps=3, guard=False))
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


# -- training --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_tells_its_progress_and_leaves_global_randomness_alone(cartpole):
    random.seed(5), torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    expected = random.random(), torch.rand(()).item(), np.random.rand()  # noqa: NPY002
    random.seed(5), torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    told: list[tuple[int, int]] = []
    train_in_simulator(
        cartpole, 1, 60, config=SMALL, on_progress=lambda done, total: told.append((done, total))
    )
    assert (random.random(), torch.rand(()).item(), np.random.rand()) == expected  # noqa: NPY002
    assert told[-1] == (60, 60)
    assert len(told) == 60


def test_the_seed_decides_what_is_learned(cartpole):
    def weights(seed: int) -> torch.Tensor:
        model = train_in_simulator(cartpole, 1, 60, seed, config=SMALL)
        return torch.cat([p.ravel() for p in model.policy.parameters()])

    first = weights(0)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_the_learning_rate_fades_to_nothing(cartpole):
    settings = {**SMALL.settings, "learning_rate": 0.5, "train_freq": 1}
    for fade, last in ((True, 0.0), (False, 0.5)):
        config = TrainConfig(lanes=4, fade=fade, evaluations=0, settings=settings)
        model = train_in_simulator(cartpole, 1, 80, config=config)
        assert model.num_timesteps == 80
        assert model.policy.optimizer.param_groups[0]["lr"] == last


def test_the_best_policy_of_the_looks_is_kept(cartpole, monkeypatch):
    returns = iter([5.0, 9.0, 9.0, 1.0])
    monkeypatch.setattr(
        training, "episode_returns", lambda *args, **kwargs: np.array([next(returns)])
    )

    class Model:
        policy = torch.nn.Linear(1, 1)

    best = _BestInSimulator(cartpole, 1, 0, 40, TrainConfig(evaluations=4))
    for step in range(1, 41):
        with torch.no_grad():
            Model.policy.weight.fill_(step)
        best.evaluate(Model, step)
    best.finish(Model)
    assert Model.policy.weight.item() == 20  # the second of the evaluations at 10, 20, 30 and 40
    assert next(returns, None) is None


def test_without_looks_the_last_policy_is_kept(cartpole, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("looked")

    monkeypatch.setattr(training, "episode_returns", refuse)
    train_in_simulator(cartpole, 1, 30, config=dataclasses.replace(SMALL, evaluations=0))


def test_a_continuous_task_is_trained_with_sac_or_td3(cheetah):
    small = TrainConfig(
        evaluations=1,
        evaluation_episodes=1,
        episode_steps=10,
        settings={**SMALL.settings, "learning_starts": 8, "batch_size": 4},
    )
    for algorithm, kind in ((None, sb3.SAC), ("td3", sb3.TD3)):
        model = train_in_simulator(
            cheetah, 1, 12, algorithm=algorithm, config=dataclasses.replace(small, evaluations=0)
        )
        assert isinstance(model, kind)
        assert model.num_timesteps == 12


def test_defaults_of_tasks_and_algorithms():
    cart, car = default_config("cartpole", "dqn"), default_config("mountain-car", "dqn")
    assert cart.settings["learning_rate"] > car.settings["learning_rate"]
    assert (cart.halt_reward, car.guard) == (0.0, False)
    assert default_config("walker", "ppo") == TrainConfig(
        settings=default_config("half-cheetah", "ppo").settings
    )
    assert default_algorithm(gym.spaces.Discrete(2)) == "dqn"
    assert default_algorithm(gym.spaces.Box(-1, 1)) == "sac"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"algorithm": "sac"}, ValueError, "sac cannot act in task 'cartpole'.*use dqn or ppo"),
        ({"algorithm": "a3c"}, ValueError, "unknown algorithm 'a3c'"),
        ({"agent": 12}, ValueError, "agent 12 does not exist"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
    ],
)
def test_bad_arguments_are_refused(cartpole, change, error, message):
    with pytest.raises(error, match=message):
        train_in_simulator(cartpole, **{"agent": 1, "steps": 10, **change})


def test_a_bad_configuration_is_refused():
    with pytest.raises(ValueError, match="exploring_starts must be a share"):
        TrainConfig(exploring_starts=1.5)
    with pytest.raises(ValueError, match="lanes must be a positive integer"):
        TrainConfig(lanes=0)
    with pytest.raises(ValueError, match="penalty must be a number of at least 0"):
        TrainConfig(penalty=-1)
    with pytest.raises(ValueError, match="halt_reward must be finite"):
        TrainConfig(halt_reward=float("nan"))
    with pytest.raises(ValueError, match="evaluation_episodes must be at least 1"):
        TrainConfig(evaluation_episodes=0)


# -- policies on disk ------------------------------------------------------------------------------


def models() -> dict[str, object]:
    cart, pendulum = gym.make("PerSim-CartPole-v0"), gym.make("Pendulum-v1")
    options = {"seed": 0, "device": "cpu", "buffer_size": 100}
    ppo = {"seed": 0, "device": "cpu"}

    def network() -> dict[str, object]:
        return {"net_arch": [8, 6]}  # a fresh one: Stable-Baselines3 writes into it

    return {
        "dqn": sb3.DQN("MlpPolicy", cart, policy_kwargs=network(), **options),
        "ppo": sb3.PPO("MlpPolicy", cart, policy_kwargs=network(), **ppo),
        "ppo-continuous": sb3.PPO("MlpPolicy", pendulum, policy_kwargs=network(), **ppo),
        "sac": sb3.SAC("MlpPolicy", pendulum, policy_kwargs=network(), **options),
        "td3": sb3.TD3("MlpPolicy", pendulum, policy_kwargs=network(), **options),
    }


@pytest.mark.parametrize("name", ["dqn", "ppo", "ppo-continuous", "sac", "td3"])
def test_a_saved_policy_acts_as_the_model_did(name, tmp_path):
    model = models()[name]
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(500, *model.observation_space.shape)).astype(np.float32)
    if name == "ppo-continuous":
        with torch.no_grad():  # so that some actions are beyond their bounds
            model.policy.action_net.weight *= 200
    expected, _ = model.predict(obs, deterministic=True)
    policy = load_policy(save_policy(model, tmp_path / "policy", {"agent": 3}))
    actions, state = policy.predict(obs)
    np.testing.assert_allclose(actions, expected, atol=1e-6)
    assert len(np.unique(expected)) > 1
    assert state is None
    assert actions.dtype.kind == np.asarray(expected).dtype.kind
    one, _ = policy.predict(obs[0])
    np.testing.assert_allclose(one, expected[0], atol=1e-6)
    assert policy.action_space == model.action_space
    assert policy.observation_space == model.observation_space
    assert policy.card == {"agent": 3}
    assert policy.name == name.split("-")[0]
    again = load_policy(save_policy(policy, tmp_path / "copy"))
    np.testing.assert_array_equal(again.predict(obs)[0], actions)
    assert again.card == {"agent": 3}


def test_a_saved_policy_has_the_models_returns(cartpole, tmp_path):
    model = train_in_simulator(cartpole, 1, 60, config=SMALL)
    policy = load_policy(save_policy(model, tmp_path))
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population())
    of_model, of_policy = (
        episode_returns(suite.task(), true, [0, 4], actor, 3) for actor in (model, policy)
    )
    np.testing.assert_array_equal(of_model, of_policy)


def test_an_altered_or_foreign_file_is_refused(cartpole, tmp_path):
    folder = save_policy(models()["dqn"], tmp_path / "policy")
    file = folder / "policy.safetensors"
    assert {path.name for path in folder.iterdir()} == {"policy.safetensors", "policy.json"}
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(ValueError, match="altered"):
        load_policy(folder)
    file.write_bytes(content[:100])
    with pytest.raises(ValueError, match="truncated"):
        load_policy(folder)
    with pytest.raises(FileNotFoundError, match="no policy"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="not a policy"):
        load_policy(cartpole.save(Path(tmp_path / "sim")) / "simulator.safetensors")


def test_what_is_no_plain_network_is_refused(tmp_path):
    env = gym.make("PerSim-CartPole-v0")
    strange = sb3.DQN(
        "MlpPolicy", env, policy_kwargs={"activation_fn": torch.nn.GELU, "net_arch": [4]}
    )
    with pytest.raises(TypeError, match="relu, tanh"):
        save_policy(strange, tmp_path)
    with pytest.raises(TypeError, match="a DQN, PPO, A2C, SAC or TD3 model"):
        save_policy(object(), tmp_path)


def test_observations_of_another_shape_are_refused(tmp_path):
    policy = load_policy(save_policy(models()["dqn"], tmp_path))
    with pytest.raises(ValueError, match=r"shape \(4,\) or \(n, 4\), got \(3,\)"):
        policy.predict(np.zeros(3))
