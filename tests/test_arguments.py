"""Every public call with values that it cannot take: refused by name and type, or taken; at once.

A value that is refused raises ``ValueError`` or ``TypeError`` with a message. Nothing else may come
out, whatever the value is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persim_gym
from persim_gym import checks
from persim_gym.baselines import BCQ, Baseline
from persim_gym.baselines.cloning import CloningConfig
from persim_gym.baselines.config import BCQConfig, CQLConfig
from persim_gym.baselines.sfbc import SfBCConfig
from persim_gym.core import as_agent, as_agents, several_agents
from persim_gym.demo.run import rebuild_page, run_demo
from persim_gym.demo.settings import DemoSettings, demo_settings
from persim_gym.envs.populations import Population
from persim_gym.envs.rendering import write_video
from persim_gym.envs.suites import (
    find_suite,
    make_env,
    make_parallel_env,
    make_vector_env,
)
from persim_gym.evaluation import evaluate
from persim_gym.evaluation.returns import episode_returns
from persim_gym.evaluation.validation import Rule, validate
from persim_gym.experiments import Cell, preset_cells, run_cells, select_cells
from persim_gym.experiments.report.page import write_report
from persim_gym.experiments.results import read_findings
from persim_gym.learned import LogMetrics, Networks, PerSim
from persim_gym.learned.config import ClosedForm
from persim_gym.learned.export import export
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.metrics import JsonLines, open_metrics
from persim_gym.offline import EpsilonMixture, FunctionPolicy, RandomPolicy, as_policy
from persim_gym.offline.collection import prepare_all
from persim_gym.offline.declared import declare
from persim_gym.offline.recorder import prepare
from persim_gym.planning import (
    CEM,
    ICEM,
    MPC,
    MPPI,
    CategoricalCEM,
    RandomShooting,
    choose_planner,
    foresee,
    recommend,
    recommend_all,
)
from persim_gym.planning.objective import Objective, Shaping, Upright
from persim_gym.plots.video import comparison_frames, episode_frames
from persim_gym.policies import scripted_policy
from persim_gym.policies.recipes import find_recipe, recipes
from persim_gym.policies.training import check_out
from persim_gym.training import TrainConfig, load_policy, save_policy, train_in_simulator
from tests.learned.worlds import PlainTask, random_simulator, random_walks

SUITE = find_suite("cartpole")
TASK = SUITE.task()
SIM = random_simulator(TASK, agents=3, members=2)
TRUE = SUITE.dynamics(SUITE.population(3))
WALK = PlainTask.of(2, actions=3)
WALKS = random_walks(WALK, steps=10)
CELLS = preset_cells("quick")
FRAME = np.zeros((8, 8, 3), dtype=np.uint8)


@functools.cache
def fitted() -> PerSim:
    """A simulator that was fitted, in the smallest way."""
    settings = {"degree": 1, "rank": 1, "threshold": 0.0, "ensemble_size": 1}
    return PerSim.fit(WALKS, task=WALK, progress=False, **settings)


def known() -> PerSim:
    """The same, to be changed by a call: the fitted one stays as it is."""
    return fitted().view()


NASTY: list[Any] = [
    None, True, False, np.True_, -1, 0, 1.5, math.nan, math.inf, -math.inf, 1e308, 10**30,
    -(10**30), 10**5000, 1j, "", " ", "x", "12", "\0", "\ud800", "~nobody_of_this_name/x",
    "a" * 5000, b"x", [], ["x"], [[1], [2, 3]], [math.nan], (), {}, {"x": 1}, {1: 2}, object(),
    range(0), np.array([1, 2]), np.array([[0]]), np.array(3.5), lambda: None,
]  # fmt: skip


def with_fields(kind: type[Any], **base: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A frozen dataclass of settings, with all of its fields."""
    made = kind(**base)
    return kind, {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}


def frames(make: Callable[..., Any]) -> Callable[..., Any]:
    """A call that draws lazily: up to the first picture."""
    return lambda **arguments: next(iter(make(**arguments)), None)


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "find_suite": (find_suite, {"name": "cartpole"}),
    "Population.sample": (
        lambda **given: Population.sample(SUITE.covariates, **given),
        {"size": 5, "seed": 0, "ranges": None},
    ),
    "Population.single": (
        lambda **given: Population.single(SUITE.covariates, **given),
        {"covariates": {}},
    ),
    "a covariate": (
        lambda value: Population.single(SUITE.covariates, {"force": value}),
        {"value": 10.0},
    ),
    "a range": (lambda value: SUITE.population({"ranges": {"force": value}}), {"value": (5, 15)}),
    "covariates": (
        lambda value: SUITE.population({"covariates": {"force": value}}),
        {"value": [5.0, 15.0]},
    ),
    "population": (SUITE.population, {"source": 3}),
    "as_agent": (lambda agent: as_agent(agent, 3), {"agent": 0}),
    "as_agents": (lambda agents: as_agents(agents, 2, 3), {"agents": [0, 1]}),
    "several_agents": (lambda agents: several_agents(agents, 3), {"agents": [0, 1]}),
    "make_env": (
        make_env,
        {"task": "cartpole", "agent": 0, "population": 3, "render_mode": None},
    ),
    "make_env, covariates": (make_env, {"task": "cartpole", "covariates": {}}),
    "make_vector_env": (
        make_vector_env,
        {"task": "cartpole", "num_envs": 2, "agents": [0, 1], "population": 3,
         "max_episode_steps": 5, "autoreset_mode": "same_step", "render_mode": None},
    ),
    "make_parallel_env": (
        make_parallel_env,
        {"task": "cartpole", "agents": [0, 1], "population": 3, "max_episode_steps": 5,
         "render_mode": None},
    ),
    "parallel_env by id": (
        persim_gym.parallel_env, {"env_id": "PerSim-CartPole-v0", "agents": [0, 1]},
    ),
    "prepare": (
        prepare,
        {"env_id": "cartpole", "policy": "random", "agents": 2, "episodes": 1, "seed": 0,
         "population": None, "max_episode_steps": 5, "deterministic": True, "dataset_id": None,
         "data_format": "hdf5"},
    ),
    "prepare_all": (
        prepare_all,
        {"tasks": ["cartpole"], "behaviours": ["random"], "agents": 2, "episodes": 1, "seed": 0,
         "population": None, "max_episode_steps": 5, "namespace": "persim", "data_format": "hdf5"},
    ),
    "RandomPolicy": (RandomPolicy, {"action_space": TASK.action_space, "seed": 0}),
    "EpsilonMixture": (
        EpsilonMixture,
        {"policy": "random", "epsilon": 0.5, "action_space": TASK.action_space, "seed": 0},
    ),
    "FunctionPolicy": (
        FunctionPolicy, {"function": lambda obs: 0},
    ),
    "as_policy": (as_policy, {"policy": "random", "task": TASK}),
    "scripted_policy": (scripted_policy, {"task_name": "cartpole", "seed": 0}),
    "Networks": with_fields(Networks),
    "ClosedForm": with_fields(ClosedForm),
    "Networks.from_json": (Networks.from_json, {"plain": {}}),
    "plan_fit": (
        plan_fit,
        {"task_name": "cartpole", "method": "auto", "preset": "default", "options": {}},
    ),
    "RandomShooting": with_fields(RandomShooting),
    "CEM": with_fields(CEM),
    "ICEM": with_fields(ICEM),
    "MPPI": with_fields(MPPI),
    "CategoricalCEM": with_fields(CategoricalCEM),
    "choose_planner": (
        choose_planner, {"task": TASK, "name": "shooting", "candidates": 10, "horizon": 5},
    ),
    "Objective": (
        Objective,
        {"task": TASK, "dynamics": SIM, "propagation": "mean", "shaping": None, "penalty": 0.0},
    ),
    "Shaping": (
        lambda **given: Objective(TASK, SIM, shaping=Shaping(**given)),
        {"coordinate": 0, "weight": 1.0},
    ),
    "Upright": (
        lambda **given: Objective(TASK, SIM, shaping=Upright(**given)),
        {"coordinate": 0, "weight": 1.0},
    ),
    "MPC": (
        MPC,
        {"model": SIM, "agent": 0, "planner": "default", "propagation": "mean", "shaping": None,
         "penalty": 0.0, "seed": 0},
    ),
    "MPC with a reward": (MPC, {"model": SIM, "reward": "-abs(next.angle)"}),
    "with_reward": (SIM.with_reward, {"reward": "-abs(next.angle)"}),
    "env with a reward": (SIM.env, {"agent": 0, "reward": "-abs(next.angle)"}),
    "recommend": (
        lambda **given: recommend(fitted(), data=WALKS, **given),
        {"agent": 0, "start": -2, "reward": "next.obs_0", "level": 0.9, "seed": 0,
         "planner": RandomShooting(2, 1), "penalty": None},
    ),
    "recommend_all": (
        lambda agents: recommend_all(
            fitted(), agents, data=WALKS, steps=1, planner=RandomShooting(2, 1)
        ),
        {"agents": [0, 1]},
    ),
    "recommend, steps": (
        lambda steps: recommend(fitted(), 0, data=WALKS, steps=steps, planner=RandomShooting(2, 1)),
        {"steps": 2},
    ),
    "foresee": (
        lambda **given: foresee(fitted(), data=WALKS, **given),
        {"agent": 0, "policy": None, "start": -2, "steps": 2, "level": 0.9},
    ),
    "env": (
        lambda **given: fitted().env(**given),
        {"agent": 0, "propagation": "sample", "guard": True, "penalty": 0.0, "strict": False,
         "reward": None, "start": "task", "render_mode": None, "max_episode_steps": 5,
         "covariates": None},
    ),
    "vector_env": (
        lambda **given: fitted().vector_env(**given),
        {"num_envs": 2, "agents": [0, 1], "propagation": "mean", "guard": True, "penalty": 0.0,
         "strict": True, "reward": "next.obs_0", "start": "data", "render_mode": None},
    ),
    "parallel_env": (
        lambda **given: fitted().parallel_env(**given),
        {"agents": [0, 1], "propagation": "mean", "guard": True, "penalty": 0.0, "strict": True,
         "reward": "next.obs_0", "start": "data", "render_mode": None},
    ),
    "predict": (
        lambda **given: fitted().predict(**given),
        {"agents": 0, "obs": WALKS.obs[:1], "actions": WALKS.action[:1], "strict": True},
    ),
    "rollout_report": (
        lambda **given: fitted().rollout_report(**given),
        {"agents": 0, "obs": WALKS.obs[:1], "actions": WALKS.action[:3][None],
         "propagation": "sample", "seed": 0, "strict": False},
    ),
    "rollout_interval": (
        lambda **given: fitted().rollout_interval(**given),
        {"agents": 0, "obs": WALKS.obs[:1], "actions": WALKS.action[:3][None], "level": 0.9,
         "of": "state", "strict": False, "rollout": None},
    ),
    "declare": (
        declare, {"data": WALKS, "bounds": {0: (-1e6, None)}, "units": {"1": "kg"}},
    ),
    "bounds": (lambda value: declare(WALKS, {"0": value}), {"value": (None, None)}),
    "a bound": (
        lambda **given: declare(WALKS, {"0": (given["low"], given["high"])}),
        {"low": None, "high": 1e6},
    ),
    "a unit": (lambda value: declare(WALKS, units={"action": value}), {"value": "mg"}),
    "fit, what is declared": (
        lambda **given: PerSim.fit(
            WALKS, degree=1, rank=1, threshold=0.0, ensemble_size=1, progress=False, **given
        ),
        {"callbacks": (), "bounds": None, "units": None},
    ),
    "refit": (lambda **given: fitted().refit(**given), {"data": WALKS, "chosen": True}),
    "export": (lambda **given: fitted().export(**given), {"path": "step.py"}),
    "export, what": (lambda sim: export(sim, "step.py"), {"sim": SIM}),
    "open_metrics": (open_metrics, {"kind": "json", "folder": "logs"}),
    "LogMetrics": (LogMetrics, {"writer": JsonLines(Path("/dev/null"))}),
    "Rule.parse": (Rule.parse, {"text": "rmse(*)<persistence"}),
    "MPC, new ways": (
        lambda **given: MPC(fitted(), 0, **given), {"propagation": "sample", "reward": None},
    ),
    "MPC in truth": (MPC, {"model": "cartpole", "agent": 0, "population": 3}),
    "evaluate": (
        evaluate,
        {"sim": SIM, "agents": [0], "episodes": 1, "seed": 0, "policy": "random",
         "population": 3, "warmup": 1, "horizon": 2},
    ),
    "validate": (
        lambda **given: validate(fitted(), **given),
        {"data": WALKS, "splits": "new", "horizons": (1,), "seed": 0, "behaviour": None,
         "time": None, "fitted_on": None, "columns": None},
    ),
    "episode_returns": (
        episode_returns,
        {"task": TASK, "dynamics": TRUE, "agents": [0], "policy": "random", "episodes": 1,
         "seed": 0, "max_episode_steps": 3},
    ),
    "episode_frames": (
        frames(episode_frames),
        {"task": "cartpole", "agent": 0, "policy": "random", "population": 3, "steps": 1,
         "seed": 0},
    ),
    "comparison_frames": (
        frames(comparison_frames),
        {"sim": SIM, "agent": 0, "policy": "random", "population": 3, "steps": 1, "seed": 0},
    ),
    "TrainConfig": with_fields(TrainConfig),
    "train_in_simulator": (
        train_in_simulator,
        {"sim": SIM, "agent": 0, "seed": 0, "algorithm": "sac", "config": None, "steps": 1},
    ),
    "DemoSettings": with_fields(DemoSettings),
    "demo_settings": (demo_settings, {"task": "cartpole", "quick": True}),
    "run_demo": (run_demo, {"task": "nowhere", "out": None, "seed": 0}),
    "rebuild_page": (rebuild_page, {"out": "nowhere"}),
    "Cell": with_fields(
        Cell, experiment="prediction", task="cartpole", dataset="random", method="persim"
    ),
    "preset_cells": (preset_cells, {"name": "quick", "device": "cpu", "seeds": None}),
    "select_cells": (
        lambda **given: select_cells(CELLS, **given),
        {"experiments": (), "tasks": (), "datasets": (), "methods": (), "planners": ()},
    ),
    "run_cells": (
        run_cells,
        {"cells": [], "folder": "runs", "device": "cpu", "jobs": 1, "engine": "local",
         "threads": 1},
    ),
    "read_findings": (read_findings, {"folder": "nowhere"}),
    "write_report": (write_report, {"folder": "nowhere", "out": None}),
    "write_video": (write_video, {"path": "film.gif", "frames": [FRAME], "fps": 10}),
    "load_policy": (load_policy, {"folder": "nowhere"}),
    "save_policy": (save_policy, {"model": None, "folder": "nowhere"}),
    "recipes": (recipes, {"task": "cartpole"}),
    "find_recipe": (find_recipe, {"task": "cartpole", "name": "test"}),
    "check_out": (
        lambda **given: check_out(find_recipe("cartpole", "test"), **given),
        {"folder": "policies", "seed": 0, "max_steps": 1},
    ),
    "PerSim.fit": (
        PerSim.fit,
        {"data": None, "method": "auto", "preset": "default", "device": "cpu", "out": None,
         "columns": None, "agent_of": None, "task": None, "save_every": 1.0, "progress": False,
         "on_epoch": None},
    ),
    "PerSim.adapt": (
        lambda **given: known().adapt(**given),
        {"data": WALKS.obs[:5], "actions": WALKS.action[:5], "next_obs": WALKS.next_obs[:5],
         "name": None},
    ),
    "PerSim.adapt, data": (
        lambda **given: known().adapt(**given),
        {"data": WALKS, "name": None, "columns": None, "agent_of": None},
    ),
    "PerSim.update": (
        lambda **given: known().update(**given),
        {"agent": 0, "obs": WALKS.obs[:5], "actions": WALKS.action[:5],
         "next_obs": WALKS.next_obs[:5], "forget": False},
    ),
    "PerSim.posterior": (lambda **given: known().posterior(**given), {"agent": 0}),
    "PerSim.equations": (lambda **given: known().equations(**given), {"agent": 0, "digits": 4}),
    "PerSim.map_covariates": (
        lambda **given: known().map_covariates(**given), {"covariates": [[1.0]] * 4},
    ),
    "PerSim.load": (PerSim.load, {"path": "nowhere", "device": "cpu"}),
    "PerSim.save": (SIM.save, {"path": "simulator"}),
    "PerSim.to": (SIM.to, {"device": "cpu"}),
    "PerSim.generate": (
        SIM.generate,
        {"agents": [0], "policy": "random", "episodes": 1, "seed": 0, "dataset_id": None,
         "propagation": "mean", "guard": True, "max_episode_steps": 1, "deterministic": True,
         "overwrite": True, "data_format": "hdf5", "on_progress": None, "progress": False},
    ),
    "Baseline.load": (Baseline.load, {"folder": "nowhere", "device": "cpu"}),
    "BCQ.fit": (
        BCQ.fit,
        {"data": None, "config": None, "agent": None, "seed": 0, "device": "cpu",
         "checkpoint": None, "save_every": 1.0, "columns": None, "agent_of": None, "task": None,
         "progress": False, "on_progress": None},
    ),
}  # fmt: skip

CASES = [
    pytest.param(name, argument, id=f"{name}-{argument}")
    for name, (_, base) in CALLS.items()
    for argument in base
]
#: What is not there; a folder that is not there is no bad value.
MISSING = (FileNotFoundError, NotADirectoryError)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument"), CASES)
def test_bad_values_are_refused(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    call, base = CALLS[name]
    for value in NASTY:
        what = f"{name}({argument}={checks.shown(value)})"
        try:
            call(**{**base, argument: value})
        except (ValueError, TypeError) as error:
            if not str(error):
                pytest.fail(f"{what}: {type(error).__name__} without a message")
        except MISSING:
            assert isinstance(value, str), what
        except Exception as error:
            pytest.fail(f"{what}: {type(error).__name__}: {error}")
        else:
            senseless = isinstance(value, (complex, bytes)) or type(value) is object
            assert not senseless, f"{what} was accepted"


@pytest.mark.parametrize(
    "kind",
    [
        Networks,
        ClosedForm,
        RandomShooting,
        CEM,
        ICEM,
        MPPI,
        CategoricalCEM,
        TrainConfig,
        BCQConfig,
        CQLConfig,
        CloningConfig,
        SfBCConfig,
    ],
)
def test_numbers_of_numpy_become_plain(kind: type[Any]) -> None:
    made = kind()
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    given = {
        name: np.asarray(value)[()] for name, value in fields.items() if type(value) in (int, float)
    }
    again = kind(**given)
    assert again == made
    assert [type(getattr(again, name)) for name in given] == [type(fields[n]) for n in given]
