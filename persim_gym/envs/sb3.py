"""Vector environments for Stable-Baselines3, which has a vector interface of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from persim_gym.envs.vector import SimVectorEnv


class SB3VecEnv(VecEnv):
    """A Gymnasium vector environment seen as an SB3 ``VecEnv``.

    A finished lane begins anew in the same step; ``info["terminal_observation"]`` holds what it
    saw last and ``info["TimeLimit.truncated"]`` says whether it was cut off and not ended, so that
    algorithms bootstrap as they should.

    Args:
        envs: The vector environment. One of this package is switched to same-step autoreset; any
            other must be in that mode.

    Raises:
        TypeError: If ``envs`` is no vector environment.
        ValueError: If a foreign environment is not in same-step mode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(envs, VectorEnv):
            raise TypeError(
                f"to_sb3 takes a gymnasium VectorEnv, got {type(envs).__name__}; a scalar "
                "environment can be given to Stable-Baselines3 as it is"
            )
        base = envs.unwrapped
        if isinstance(base, SimVectorEnv):
            base.autoreset_mode = base.metadata["autoreset_mode"] = AutoresetMode.SAME_STEP
        elif envs.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise ValueError(
                "Stable-Baselines3 needs autoreset in the same step: make the vector environment "
                "with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        self.envs = envs
        self._actions: NDArray[Any] | None = None
        self._seed: int | None = None
        self.render_mode = envs.render_mode
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode in every lane: observations ``[n, d]``."""
        first = self._options[0]
        # One dictionary for all lanes stands here once for each lane, the same object.
        if all(lane is first for lane in self._options):
            options = dict(first)
        else:
            if any(set(lane) != set(first) for lane in self._options):
                raise ValueError("reset options must name the same keys for every lane")
            options = {key: np.array([lane[key] for lane in self._options]) for key in first}
        obs, infos = self.envs.reset(seed=self._seed, options=options or None)
        self.reset_infos = [_of_lane(infos, lane) for lane in range(self.num_envs)]
        self._seed = None
        self._reset_options()
        return obs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed of the next reset; lane ``i`` gets ``seed + i``."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        return [self._seed + lane for lane in range(self.num_envs)]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the coming step."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step: observations ``[n, d]``, rewards ``[n]``, done ``[n]``, infos."""
        obs, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        done = terminated | truncated
        lanes: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if infos:
            final = infos.get("final_info", {})
            for lane, info in enumerate(lanes):
                info.update(_of_lane(final if done[lane] else infos, lane))
        for lane in np.flatnonzero(done).tolist():
            lanes[lane]["terminal_observation"] = infos["final_obs"][lane]
            lanes[lane]["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
        return obs, rewards.astype(np.float32), done, lanes

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A frame of each lane."""
        frames = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else [np.asarray(f) for f in frames]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute, the same for all lanes."""
        count = len(list(self._get_indices(indices)))
        return [getattr(self.envs, attr_name)] * count

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole vector environment."""
        if indices is not None:
            raise ValueError(f"lanes share their attributes: {attr_name} can be set for all only")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment, once."""
        method: Callable[..., Any] = getattr(self.envs, method_name)
        result = method(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """No lane has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]


def _of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for key, values in infos.items():
        if key.startswith("_") or key in ("final_obs", "final_info"):
            continue
        if infos[f"_{key}"][lane]:
            value = _of_lane(values, lane) if isinstance(values, dict) else values[lane]
            own[key] = value.item() if isinstance(value, np.generic) else value
    return own


def to_sb3(envs: VectorEnv[Any, Any, Any]) -> SB3VecEnv:
    """Turn a vector environment into one for Stable-Baselines3.

    As in ``DQN("MlpPolicy", to_sb3(envs))``.

    Args:
        envs: A vector environment, true or learned; see :class:`SB3VecEnv`.
    """
    return SB3VecEnv(envs)


__all__ = ["SB3VecEnv", "to_sb3"]
