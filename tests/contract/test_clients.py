"""Real clients: Minari's collector, TorchRL and SuperSuit, where they are installed.

``pip install persim-gym[clients]`` installs them; a nightly job runs these tests with them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO

import persim_gym
from persim_gym.envs.guard import Reason
from persim_gym.learned import PerSim
from tests.contract.worlds import TRUE_IDS, actions_for, recorded
from tests.learned.lines import constant_simulator

# What the clients warn of is theirs: versions that they were not tested with, above all.
pytestmark = pytest.mark.filterwarnings("ignore")


def needs(module: str) -> Any:
    """A client's module, or a skip that says what is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            module,
            reason=f"{module} is not installed: pip install persim-gym[clients]",
            exc_type=ImportError,
        )


def stopping(penalty: float = 0.0) -> dict[str, Callable[..., Any]]:
    """The shells over a simulator whose guard stops every episode in its third step."""
    sim = constant_simulator(4.0, 4.0, low=0.0, high=6.0)
    return {
        "scalar": lambda **o: sim.env(1, penalty=penalty, **o),
        "lanes": lambda **o: sim.vector_env(3, penalty=penalty, **o),
        "parallel": lambda **o: sim.parallel_env([0, 1], penalty=penalty, **o),
    }


def true(env_id: str) -> dict[str, Callable[..., Any]]:
    return {
        "scalar": lambda **o: gym.make(env_id, agent=1, **o),
        "lanes": lambda **o: gym.make_vec(env_id, num_envs=3, **o),
        "parallel": lambda **o: persim_gym.parallel_env(env_id, [0, 1], **o),
    }


SHELLS = {**{env_id: true(env_id) for env_id in TRUE_IDS}, "learned": stopping(),
          "learned, with a penalty": stopping(0.5)}  # fmt: skip


@pytest.fixture(params=SHELLS)
def shells(request: pytest.FixtureRequest) -> dict[str, Callable[..., Any]]:
    return SHELLS[request.param]


# -- Minari ----------------------------------------------------------------------------------------


@pytest.fixture
def simulator(tmp_path: Path) -> Path:
    sim = PerSim.fit(
        recorded("cartpole", 8),
        epochs=1,
        ensemble_size=2,
        rank=2,
        state_hidden=(8,),
        progress=False,
    )
    return sim.save(tmp_path / "simulator")


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("env_id", [*TRUE_IDS, persim_gym.LEARNED_ID])
def test_minaris_collector_records_infos(
    env_id: str, data_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    needs("jax")
    if data_format == "arrow":
        needs("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    options: dict[str, Any] = {"max_episode_steps": 5}
    if env_id == persim_gym.LEARNED_ID:
        options["simulator"] = request.getfixturevalue("simulator")
    env = minari.DataCollector(
        gym.make(env_id, **options), record_infos=True, data_format=data_format
    )
    seen: list[list[dict[str, Any]]] = []
    for agent in (2, 0, 1):
        _, info = env.reset(seed=agent, options={"agent": agent, "minari_autoseed": False})
        seen.append([info])
        over, rng = False, np.random.default_rng(agent)
        while not over:
            *_, terminated, truncated, info = env.step(actions_for(env.action_space, rng))
            seen[-1].append(info)
            over = terminated or truncated
    data = env.create_dataset("clients/infos-v0")
    assert data.total_episodes == 3
    for episode, infos in zip(data.iterate_episodes(), seen, strict=True):
        assert set(episode.infos) == set(infos[0])
        for key, values in episode.infos.items():
            np.testing.assert_array_equal(values, [info[key] for info in infos], err_msg=key)
            assert values.dtype == np.asarray(infos[0][key]).dtype
    replay = data.recover_environment()
    _, info = replay.reset(seed=2, options={"agent": 2})
    assert info["agent"] == 2


# -- TorchRL ---------------------------------------------------------------------------------------


@pytest.fixture
def torchrl() -> Any:
    module = needs("torchrl.envs")
    needs("torchrl.envs.utils")
    return module


def test_torchrl_steps_lanes(shells: Any, torchrl: Any) -> None:
    lanes, reference = (
        shells["lanes"](max_episode_steps=4, autoreset_mode=AutoresetMode.SAME_STEP)
        for _ in range(2)
    )
    env = torchrl.GymWrapper(lanes)
    env.set_seed(3)
    data = env.rollout(18, break_when_any_done=False)
    assert data.shape == (3, 18)
    assert data["next", "agent"].tolist() == [[0] * 18, [1] * 18, [2] * 18]
    # The same actions in the environment itself.
    acted = data["action"].numpy()
    if data["action"].shape[-1] == getattr(lanes.single_action_space, "n", None):
        acted = acted.argmax(-1)
    reference.reset(options={"state": data["observation"][:, 0].numpy()})
    ends = 0
    for step in range(18):
        _, reward, terminated, truncated, infos = reference.step(acted[:, step])
        done = terminated | truncated
        seen = data["next"][:, step]
        np.testing.assert_array_equal(seen["done"][:, 0].numpy(), done)
        np.testing.assert_array_equal(seen["terminated"][:, 0].numpy(), terminated)
        np.testing.assert_allclose(seen["reward"][:, 0].numpy(), reward, rtol=1e-4, atol=1e-5)
        if done.any():
            break  # what begins next is drawn elsewhere
        ends += 1
    assert ends >= 1
    for lane in np.flatnonzero(done):
        last = seen["observation"][lane].numpy()
        np.testing.assert_allclose(last, infos["final_obs"][lane], rtol=1e-4, atol=1e-5)
        if "guard" in seen:
            assert Reason(seen["guard"][lane].item()) == infos["final_info"]["guard"][lane]


def test_torchrl_steps_one_environment_with_its_infos(shells: Any, torchrl: Any) -> None:
    from torchrl.envs.utils import check_env_specs

    env = torchrl.GymWrapper(shells["scalar"](max_episode_steps=4)).auto_register_info_dict()
    check_env_specs(env)
    data = env.rollout(9, break_when_any_done=False)
    assert data["next", "agent"].flatten().tolist() == [1] * 9
    assert data["next", "done"].sum() >= 2


@pytest.mark.parametrize("masked", [True, False])
def test_torchrl_steps_parallel_agents(shells: Any, torchrl: Any, masked: bool) -> None:
    env = torchrl.PettingZooWrapper(
        shells["parallel"](max_episode_steps=4), use_mask=masked, done_on_any=not masked
    )
    data = env.rollout(12, break_when_any_done=False)
    assert data.shape == (12,)
    assert data["next", "done"].sum() >= 2


# -- SuperSuit -------------------------------------------------------------------------------------


def test_supersuit_keeps_agents_that_are_over(shells: Any) -> None:
    supersuit = needs("supersuit")
    env = supersuit.black_death_v3(shells["parallel"](max_episode_steps=4))
    for episode in range(2):
        obs, _ = env.reset(seed=episode)
        steps = 0
        rng = np.random.default_rng(episode)
        while env.agents:
            obs, *_ = env.step(
                {name: actions_for(env.action_space(name), rng) for name in env.agents}
            )
            assert len(obs) == 2
            steps += 1
        assert 1 <= steps <= 5, "one more when all are over"


@pytest.mark.parametrize("skip", [3, (1, 3)], ids=str)
def test_supersuit_skips_frames(shells: Any, skip: Any) -> None:
    supersuit = needs("supersuit")
    env = supersuit.frame_skip_v0(shells["parallel"](max_episode_steps=5), skip)
    env.reset(seed=1)
    steps, rng = 0, np.random.default_rng(0)
    while env.agents:
        env.step({name: actions_for(env.action_space(name), rng) for name in env.agents})
        steps += 1
    assert 1 <= steps <= 5


def test_supersuits_way_to_stable_baselines3(shells: Any) -> None:
    supersuit = needs("supersuit")
    env = supersuit.black_death_v3(shells["parallel"](max_episode_steps=4))
    lanes = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(env), 2, num_cpus=0, base_class="stable_baselines3"
    )
    model = PPO("MlpPolicy", lanes, n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(64)
    assert model.num_timesteps == 64
