"""What the package uses of other libraries that is not in their documentation.

Each of these may move with any release. Where one has, the message says what to do.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from persim_gym.learned.networks import gradients, linear

PACKAGE = Path(__file__).parent.parent / "persim_gym"

#: Private names that the package uses, though nothing in it has them; each has a test below.
ALLOWED = {"_linear_pointwise", "_n_updates", "_n_calls", "_last_obs", "_target_q", "_optim"}
#: Documented in spite of the underscore, of ``os`` and of named tuples; a name inside a pickle.
DOCUMENTED = {"_exit", "_fields", "_core"}


def test_no_other_private_names_are_used() -> None:
    texts = [path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))]
    used = {name for text in texts for name in re.findall(r"\w\)?\]?\.(_[a-z]\w*)", text)}
    own = {n for text in texts for n in re.findall(r"(?:def |class |self\.)(_[a-z]\w*)", text)}
    own |= {name for text in texts for name in re.findall(r"^\s*(_[a-z]\w*)(?:: | = )", text, re.M)}
    modules = re.findall(r"^\s*(?:from|import) (?!persim_gym)\S*\._\S*.*", "\n".join(texts), re.M)
    assert (used - own, modules) == (ALLOWED | DOCUMENTED, []), (
        "private names of other libraries: take a public way, or allow the name in this file, with "
        "a test that says what to do when it moves; names that are not used any more go"
    )


def test_gym_make_can_be_asked_for_its_time_limit() -> None:
    known = gym.make.__code__.co_varnames
    assert inspect.isfunction(gym.make), "gym.make is no plain function any more: see below"
    assert {"max_episode_steps", "env_spec"} <= set(known), (
        "gym.make has renamed its local variables max_episode_steps or env_spec: name the new ones "
        "in persim_gym.learned.env._asked_of_make, which reads them from the caller's frame"
    )
    assert list(inspect.signature(gym.make).parameters)[:2] == ["id", "max_episode_steps"]


def test_a_vector_environment_keeps_its_generator_where_gymnasium_looks_for_it() -> None:
    envs: Any = gym.vector.VectorEnv()
    generator = np.random.default_rng(3)
    envs._np_random, envs._np_random_seed = generator, 3
    assert (envs.np_random, envs.np_random_seed) == (generator, 3), (
        "gymnasium.vector.VectorEnv keeps its generator and seed under other names: use them in "
        "persim_gym.envs.vector.SimVectorEnv.reset"
    )


def test_torch_has_the_fused_layer() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch is built without oneDNN")
    assert linear._fused() is not None, (
        "torch.ops.mkldnn._linear_pointwise is gone or takes other arguments: nothing breaks, but "
        "networks take up to twice as long; find its successor for "
        "persim_gym.learned.networks.linear._fused, or delete that function"
    )


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_torch_has_the_slopes_of_nonlinearities(name: str) -> None:
    x = torch.linspace(-2.0, 2.0, 8, dtype=torch.float64, requires_grad=True)
    y: Any = getattr(torch.nn.functional, name)(x)
    y.sum().backward()
    assert x.grad is not None
    one = torch.ones_like(x)
    found = (
        gradients._relu_backward(one, x.detach(), 0)
        if name == "relu"
        else gradients._silu_backward(one, x.detach())
    )
    said = (
        f"torch.ops.aten has changed the slope of {name}: write it out by hand in "
        "persim_gym.learned.networks.gradients"
    )
    assert torch.allclose(found, x.grad), said


@pytest.mark.parametrize("name", ["DQN", "SAC", "TD3"])
def test_stable_baselines_counts_its_updates(name: str) -> None:
    import stable_baselines3

    model = getattr(stable_baselines3, name)(
        "MlpPolicy", "CartPole-v1" if name == "DQN" else "Pendulum-v1", buffer_size=10, device="cpu"
    )
    said = (
        f"{name} of Stable-Baselines3 counts its updates under another name: keep that one in "
        "persim_gym.policies.training, or a training that goes on differs from one that was whole"
    )
    assert model._n_updates == 0, said
    if name == "DQN":
        assert model._n_calls == 0, said
    buffer = model.replay_buffer
    assert (buffer.pos, buffer.full, len(buffer.timeouts)) == (0, False, 10), said
    model._last_obs = 1
    model.set_env(model.get_env())
    assert model._last_obs is None, (
        "set_env of Stable-Baselines3 lets no episode begin anew any more: see Training.leg in "
        "persim_gym.policies.training"
    )


@pytest.mark.slow
def test_tianshou_has_the_methods_that_are_mended() -> None:
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")
    from tianshou.algorithm.algorithm_base import Algorithm

    from persim_gym.baselines import tianshou_fixes

    steps = {"_update_with_batch", "_optimizers", "_lagged_networks"}
    hooks: dict[Any, set[str]] = {
        tianshou_fixes.MendedDiscreteBCQ: {"_target_q", "_update_lagged_network_weights"},
        tianshou_fixes.MendedDiscreteCQL: {"_target_q", "_update_lagged_network_weights"},
        tianshou_fixes.MendedCQL: {
            "_policy_pred", "_calc_policy_loss", "_calc_pi_values", "_calc_random_values",
        },
        tianshou_fixes.MendedBCQ: {"actor_perturbation_target", "critic_target", "critic2_target"},
    }  # fmt: skip
    for kind, names in hooks.items():
        parent = kind.__bases__[-1]  # tianshou's class; before it may stand what is ours
        text = "".join(inspect.getsource(own) for own in parent.__mro__[:-1])
        assert all(name in text for name in names | steps), (
            f"tianshou's {parent.__name__} has other methods: see what each class of "
            "persim_gym.baselines.tianshou_fixes changes, and mend the new ones"
        )
    for kind in (tianshou_fixes.AutoAlpha, Algorithm.Optimizer):
        assert "self._optim" in inspect.getsource(kind), (
            "tianshou keeps its optimisers elsewhere: mend persim_gym.baselines.tianshou_fit, or a "
            "fit that goes on from a checkpoint differs from one that was whole"
        )


def test_minari_keeps_episodes_where_they_are_read(tmp_path: Path) -> None:
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    space = Box(-1.0, 1.0, (2,), np.float32)
    storage = MinariStorage.new(tmp_path / "data", observation_space=space, action_space=space)
    zeros = np.zeros((3, 2), np.float32)
    storage.update_episodes([
        EpisodeBuffer(
            observations=zeros, actions=zeros[:2], rewards=[0.0, 0.0], terminations=[False] * 2,
            truncations=[False, True], infos={},
        )
    ])  # fmt: skip
    file = Path(storage.data_path) / "main_data.hdf5"
    said = (
        f"Minari {minari.__version__} writes HDF5 in another way: mend "
        "persim_gym.offline.storages, which reads the files past Minari"
    )
    import h5py

    assert storage.FORMAT == "hdf5", said
    assert file.is_file(), said
    with h5py.File(file) as opened:
        names = {"observations", "actions", "rewards", "terminations", "truncations"}
        assert names <= set(opened["episode_0"]), said
