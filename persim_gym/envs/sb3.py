"""Vector environments for Stable-Baselines3, which has a vector interface of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv

from persim_gym.envs.checks import check_seed
from persim_gym.envs.vector import SimVectorEnv

#: The remedy for an environment in another mode than same-step.
REMEDY = (
    "make the vector environment with autoreset_mode=AutoresetMode.SAME_STEP first, then wrap it. "
    "Gymnasium's wrappers of vector observations do not work in that mode: wrap the scalar "
    "environments of a SyncVectorEnv instead, or what to_sb3 returns (VecNormalize, VecEnvWrapper)"
)


class SB3VecEnv(VecEnv):
    """A Gymnasium vector environment seen as an SB3 ``VecEnv``.

    A finished lane begins anew in the same step; ``info["terminal_observation"]`` holds what it
    saw last and ``info["TimeLimit.truncated"]`` says whether it was cut off and not ended, so that
    algorithms bootstrap as they should. What wrappers add to the infos of a finished lane, such as
    ``info["episode"]``, is there too, and ``reset_infos`` are those of the episode that began.

    Attributes and methods are those of the lanes: ``get_attr("agent")`` gives the agent of each,
    ``env_method("reset", indices=[1])`` begins an episode in lane 1 alone.

    Args:
        envs: The vector environment. One of this package that is not wrapped is switched to
            same-step autoreset; any other must be in that mode.

    Raises:
        TypeError: If ``envs`` is no vector environment.
        ValueError: If a wrapped or foreign environment is not in same-step mode.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(envs, VectorEnv):
            raise TypeError(
                f"to_sb3 takes a gymnasium VectorEnv, got {type(envs).__name__}; a scalar "
                "environment can be given to Stable-Baselines3 as it is"
            )
        if isinstance(envs, SimVectorEnv):
            envs.autoreset_mode = envs.metadata["autoreset_mode"] = AutoresetMode.SAME_STEP
        elif (mode := envs.metadata.get("autoreset_mode")) is not AutoresetMode.SAME_STEP:
            raise ValueError(
                "Stable-Baselines3 needs autoreset in the same step, and this "
                f"{type(envs).__name__} has {mode}: {REMEDY}"
            )
        self.envs = envs
        self._layers = [envs]  # wrappers, the outermost first, and last what they wrap
        while isinstance(self._layers[-1], VectorWrapper):
            self._layers.append(self._layers[-1].env)
        self._base: Any = self._layers[-1]
        self._actions: NDArray[Any] | None = None
        self._begun = False
        self._own: list[dict[str, Any]] = [{} for _ in range(envs.num_envs)]
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
        # One seed stands for that of lane 0: lane i has the i-th after it.
        obs, infos = self.envs.reset(seed=self._seeds[0], options=options or None)
        self._begun = True
        self.reset_infos = self._by_lane(infos)
        self._reset_seeds()
        self._reset_options()
        return obs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed of the next reset; lane ``i`` gets ``seed + i``.

        Raises:
            TypeError: If it is no integer.
            ValueError: If it is negative.
        """
        first = check_seed(seed)
        if first is None:
            first = int(np.random.SeedSequence().generate_state(1)[0])
        self._seeds = [first + lane for lane in range(self.num_envs)]
        return self._seeds

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions of the coming step."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step: observations ``[n, d]``, rewards ``[n]``, done ``[n]``, infos."""
        obs, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        done = terminated | truncated
        lanes = self._by_lane(infos)
        for lane in np.flatnonzero(done).tolist():
            # Beside what the finished episode says stand the next one's reset and the wrappers.
            begun = lanes[lane]
            last, final = begun.pop("final_obs"), begun.pop("final_info", {})
            self.reset_infos[lane] = begun
            lanes[lane] = {
                **begun,
                **final,
                "terminal_observation": last,
                "TimeLimit.truncated": bool(truncated[lane] and not terminated[lane]),
            }
        return obs, rewards.astype(np.float32), done, lanes

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A frame of each lane."""
        frames = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else [np.asarray(f) for f in frames]

    # -- attributes and methods of lanes -----------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of each lane; what belongs to the whole environment is all lanes' own.

        Raises:
            AttributeError: If there is none of this name.
        """
        lanes = self._lanes(indices)
        if all(attr_name in self._own[lane] for lane in lanes):
            return [self._own[lane][attr_name] for lane in lanes]
        shared = self._attribute(attr_name)
        return [self._own[lane].get(attr_name, shared[lane]) for lane in lanes]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of lanes.

        Lanes of this package are one environment: they share its attributes, which can be set for
        all of them only. What the environment has no attribute for can be noted lane by lane.

        Raises:
            AttributeError: If it cannot be set.
            ValueError: If some lanes are meant and all share it.
        """
        lanes = self._lanes(indices)
        if attr_name == "agent":
            raise AttributeError("agents are set at a reset: set_options({'agent': k}), reset()")
        if hasattr(self._base, "set_attr"):
            values = [value] * self.num_envs
            if len(lanes) < self.num_envs:
                values = [*self._base.get_attr(attr_name)]
                for lane in lanes:
                    values[lane] = value
            self._base.set_attr(attr_name, values)
        elif len(lanes) == self.num_envs:
            setattr(self.envs, attr_name, value)
            for own in self._own:
                own.pop(attr_name, None)
        elif any(hasattr(layer, attr_name) for layer in self._layers):
            raise ValueError(f"lanes share their attributes: {attr_name} can be set for all only")
        else:
            for lane in lanes:
                self._own[lane][attr_name] = value

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of each lane and return what each answers.

        ``reset`` and ``render`` are the lanes' own; another method of an environment of this
        package is called once, for all lanes.

        Raises:
            AttributeError: If there is none of this name.
            ValueError: If some lanes are meant and the method is of all.
        """
        lanes = self._lanes(indices)
        if hasattr(self._base, "envs"):  # scalar environments side by side, in this process
            members = [self._base.envs[lane] for lane in lanes]
            return [env.get_wrapper_attr(method_name)(*args, **kwargs) for env in members]
        if method_name == "reset":
            return self._reset_lanes(lanes, *args, **kwargs)
        if method_name == "render":
            frames = self.get_images()
            return [frames[lane] for lane in lanes]
        if method_name == "get_wrapper_attr":
            return self.get_attr(args[0], lanes)
        if method_name == "has_wrapper_attr":
            return [self.has_attr(args[0])] * len(lanes)
        if len(lanes) < self.num_envs:
            raise ValueError(
                f"lanes are one environment: {method_name} can be called for all of them only, "
                f"got indices={indices!r}"
            )
        if hasattr(self._base, "call"):
            return [*self._base.call(method_name, *args, **kwargs)]
        for layer in self._layers:
            if hasattr(layer, method_name):
                return [getattr(layer, method_name)(*args, **kwargs)] * self.num_envs
        raise AttributeError(f"{self.envs} has no method {method_name}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Whether lanes are wrapped with a class, each on its own or all together."""
        together = any(isinstance(layer, wrapper_class) for layer in self._layers[:-1])
        members = getattr(self._base, "envs", None)
        return [
            together or (members is not None and is_wrapped(members[lane], wrapper_class))
            for lane in self._lanes(indices)
        ]

    def _lanes(self, indices: Any) -> list[int]:
        lanes = [int(lane) for lane in self._get_indices(indices)]
        if not all(-self.num_envs <= lane < self.num_envs for lane in lanes):
            raise ValueError(f"there are {self.num_envs} lanes, from 0 on: got indices={indices!r}")
        return [lane % self.num_envs for lane in lanes]

    def _attribute(self, name: str) -> Sequence[Any]:
        if name in ("observation_space", "action_space"):
            return [getattr(self.envs, f"single_{name}")] * self.num_envs
        for wrapper in self._layers[:-1]:
            if hasattr(wrapper, name):
                return [getattr(wrapper, name)] * self.num_envs
        if hasattr(self._base, "get_attr"):
            with contextlib.suppress(AttributeError):
                found: Sequence[Any] = self._base.get_attr(name)
                return found
        return [getattr(self._base, name)] * self.num_envs

    def _reset_lanes(
        self, lanes: list[int], *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> list[tuple[NDArray[np.float32], dict[str, Any]]]:
        """Begin episodes in some lanes: of each its observation and info."""
        if not self._begun:  # lanes that are not meant need a first episode, too
            self.reset()
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[lanes] = True
        seeds = None if seed is None else [seed if chosen else None for chosen in mask.tolist()]
        obs, infos = self.envs.reset(
            seed=seeds,  # type: ignore[arg-type]
            options={**(options or {}), "reset_mask": mask},
        )
        begun = self._by_lane(infos)
        for lane in lanes:
            self.reset_infos[lane] = begun[lane]
        return [(obs[lane].copy(), dict(begun[lane])) for lane in lanes]

    def _by_lane(self, infos: Any) -> list[dict[str, Any]]:
        """Infos lane by lane; the wrapper ``DictInfoToList`` has done it already."""
        if isinstance(infos, list):
            return [dict(info) for info in infos]
        return [_of_lane(infos, lane) for lane in range(self.num_envs)]


def _of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        # Statistics within statistics have no masks of their own.
        if not key.startswith("_") and (mask is None or mask[lane]):
            own[key] = _of_lane(values, lane) if isinstance(values, dict) else values[lane]
    return own


def to_sb3(envs: VectorEnv[Any, Any, Any]) -> SB3VecEnv:
    """Turn a vector environment into one for Stable-Baselines3.

    As in ``DQN("MlpPolicy", to_sb3(envs))``.

    Args:
        envs: A vector environment, true or learned; see :class:`SB3VecEnv`.
    """
    return SB3VecEnv(envs)
