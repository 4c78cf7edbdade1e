"""The demo: record, fit, evaluate, plan, train, report; killed anywhere, it goes on from there."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import persim_gym
from persim_gym import checks
from persim_gym.core import describe
from persim_gym.demo.page import render_page
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.evaluation.episodes import HORIZON, WARMUP, follow
from persim_gym.evaluation.latent_factors import LatentProbe, probe_covariates
from persim_gym.evaluation.open_loop import OpenLoopError, Traces, open_loop_error
from persim_gym.evaluation.references import Persistence, PooledModel, Predictor, pooled
from persim_gym.evaluation.returns import Outcomes, episode_outcomes
from persim_gym.learned.env import GuardedSimulator
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.plots import figures as plots
from persim_gym.policies.scripted import scripted_policy
from persim_gym.writing import (
    read_arrays,
    read_sealed,
    write_arrays,
    write_bytes,
    write_json,
    write_sealed,
)

STAGES = ("record", "fit", "evaluate", "plan", "train", "report")
PAGE, RESULTS = "index.html", "results.json"
TEST_AGENTS = (0, 1, 2, 3, 4)

RANDOM = "random actions"
TRAINED = "trained in the simulator"
MPC_LEARNED = "MPC, planned in the simulator"
MPC_TRUE = "MPC, planned in the true dynamics"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """How much of everything a demo does.

    Attributes:
        agents: Agents that are recorded and fitted.
        fit: What differs from the fit's default preset.
        episodes: Episodes of each test agent in the evaluation of predictions.
        return_episodes: Episodes for the returns of the random and the trained policy.
        plan_episodes: Episodes of each test agent with MPC.
        plan_steps: Time limit of these, ``None`` for the task's.
        planner: What differs from the settings of the task's own planner.
        train_agent: In whose simulator a policy is trained.
        train_steps: For how many steps.
        clip_steps: Steps of the film.
    """

    agents: int = DEFAULT_SIZE
    fit: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 50
    return_episodes: int = 20
    plan_episodes: int = 5
    plan_steps: int | None = None
    planner: Mapping[str, Any] = field(default_factory=dict)
    train_agent: int = 3
    train_steps: int = 30_000
    clip_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        checks.make_plain(self)
        checks.integer("agents", self.agents, 10)  # the probe of the latent factors needs ten
        for name in ("episodes", "return_episodes", "plan_episodes", "train_steps", "clip_steps"):
            checks.integer(name, getattr(self, name), 1)
        checks.integer("plan_steps", 1 if self.plan_steps is None else self.plan_steps, 1)
        checks.a_mapping("fit", self.fit)
        checks.a_mapping("planner", self.planner)
        checks.integer("train_agent", self.train_agent)
        if self.train_agent not in TEST_AGENTS:
            raise ValueError(f"train_agent must be a test agent, 0 to 4, got {self.train_agent}")


_FULL: dict[str, DemoSettings] = {
    "cartpole": DemoSettings(),
    "mountain-car": DemoSettings(train_steps=80_000, clip_steps=150),
    "half-cheetah": DemoSettings(plan_episodes=1, plan_steps=200, train_steps=20_000),
}  # fmt: skip
_QUICK: dict[str, DemoSettings] = {
    "cartpole": DemoSettings(
        agents=100, fit={"ensemble_size": 3}, episodes=10,
        return_episodes=10, plan_episodes=1, train_steps=10_000,
    ),
    "mountain-car": DemoSettings(
        agents=60, fit={"ensemble_size": 3}, episodes=10,
        return_episodes=10, plan_episodes=1, train_steps=40_000,
        clip_steps=150,
    ),
    "half-cheetah": DemoSettings(
        agents=40,
        fit={"epochs": 12, "ensemble_size": 2, "state_hidden": [256, 256], "batch_size": 256},
        episodes=10, return_episodes=5, plan_episodes=1, plan_steps=60,
        planner={"candidates": 40, "horizon": 15}, train_steps=4000,
        clip_steps=60,
    ),
}  # fmt: skip


def demo_settings(task: str, quick: bool = False) -> DemoSettings:
    """The settings of a task's demo, in full or in small.

    Raises:
        ValueError: If there is no such task.
    """
    return (_QUICK if checks.switch("quick", quick) else _FULL)[find_suite(task).name]


@dataclass(frozen=True, slots=True)
class StageEvent:
    """What a demo tells of a stage.

    Attributes:
        stage: One of :data:`STAGES`.
        index: Which, from 1 on.
        status: ``"started"``, ``"finished"``, or ``"kept"`` from an earlier run.
        seconds: Time that it took; 0 when it starts.
        note: What came of it, in one line.
    """

    stage: str
    index: int
    status: Literal["started", "finished", "kept"]
    seconds: float = 0.0
    note: str = ""


OnStage = Callable[[StageEvent], None]
#: Told the stage, how much of it is done, and of how much.
OnStageProgress = Callable[[str, int, int], None]


def run_demo(
    task: str = "cartpole",
    out: str | Path | None = None,
    quick: bool = False,
    seed: int = 0,
    on_stage: OnStage | None = None,
    on_progress: OnStageProgress | None = None,
    *,
    settings: DemoSettings | None = None,
) -> Path:
    """Record agents, fit their simulators, judge and use them, and write a page about it.

    What each stage has found is kept in ``out``: a demo that was killed goes on when it is called
    again, a fit even from its last checkpoint. The data set is
    ``persim/<task>/random-v0``; it is recorded if it is not there. If one is there that was made
    otherwise, this demo's own gets an id that says how it was made.

    Args:
        task: Task name or environment id.
        out: Folder; by default ``runs/demo-<task>``, with ``-quick`` at its end for a quick one.
        quick: Less of everything: to see it run, not to judge by.
        seed: Seed of everything random.
        on_stage: Told of each stage's beginning and end.
        on_progress: Told of the progress inside a stage.
        settings: Other settings than :func:`demo_settings`.

    Returns:
        The page, ``out/index.html``. All its numbers are in ``results.json`` beside it.

    Raises:
        ValueError: If there is no such task, or ``out`` holds a demo of other settings.
    """
    suite = find_suite(task)
    seed = checks.integer("seed", seed, most=checks.LARGEST_SEED)
    settings = settings or demo_settings(suite.name, quick)
    if out is None:
        out = Path("runs") / f"demo-{suite.name}{'-quick' if quick else ''}"
    folder = checks.output_folder("out", out)
    demo = _Demo(suite, folder, quick, seed, settings, on_stage, on_progress)
    return demo.run()


def rebuild_page(out: str | Path) -> Path:
    """Write a demo's page anew from what its stages have found.

    Raises:
        FileNotFoundError: If there is no demo in the folder, or it has not come to its end.
    """
    folder = checks.as_path("out", out)
    recipe = folder / "demo.json"
    if not recipe.is_file():
        raise FileNotFoundError(f"there is no demo in {folder}: persim_gym.demo.run_demo")
    plain = _read_recipe(recipe)
    settings = DemoSettings(**plain["settings"])
    suite = find_suite(plain["task"])
    demo = _Demo(suite, folder, plain["quick"], plain["seed"], settings, None, None)
    demo.check_complete()
    return demo.run()


def _read_recipe(file: Path) -> dict[str, Any]:
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}): delete it or its folder") from error
    names = {"task", "quick", "seed", "settings"}
    if not isinstance(plain, dict) or set(plain) != names:
        raise ValueError(f"{file} holds no settings of a demo: delete it or its folder")
    return plain


class _Demo:
    """One demo: its settings, its folder, and its stages one after the other."""

    def __init__(
        self,
        suite: Suite,
        out: Path,
        quick: bool,
        seed: int,
        settings: DemoSettings,
        on_stage: OnStage | None,
        on_progress: OnStageProgress | None,
    ) -> None:
        self.suite, self.out, self.quick, self.seed = suite, out, quick, seed
        self.settings = settings
        self._on_stage = on_stage or (lambda event: None)
        self._on_progress = on_progress or (lambda stage, done, total: None)
        self.task = suite.task()
        self.people = suite.population(settings.agents)
        self.true = suite.dynamics(self.people)
        self.results: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self._sim: PerSim | None = None

    # -- the run -------------------------------------------------------------------------------

    def run(self) -> Path:
        recipe = {
            "task": self.suite.name,
            "quick": self.quick,
            "seed": self.seed,
            "settings": dataclasses.asdict(self.settings),
        }
        # As it is read back: tuples are lists there.
        recipe = json.loads(json.dumps(recipe))
        file = self.out / "demo.json"
        if file.is_file() and _read_recipe(file) != recipe:
            raise ValueError(
                f"{self.out} holds a demo of other settings: choose another folder, or delete it"
            )
        write_json(file, recipe)
        self.key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        # A finished fit needs no data any more; one that is not needs them as they were.
        if not self._is_kept("record") or not self._is_kept("fit"):
            self._forget("record")
        for stage in STAGES[:-1]:
            self._run_stage(stage, getattr(self, f"_{stage}"))
        self._run_stage("report", self._report, keep=False)
        return self.out / PAGE

    def check_complete(self) -> None:
        for stage in STAGES[:-1]:
            if not self._file(stage).is_file():
                raise FileNotFoundError(
                    f"the demo in {self.out} has not come to its end: stage {stage!r} is missing"
                )

    def _file(self, stage: str) -> Path:
        return self.out / "stages" / f"{stage}.json"

    def _kept(self, stage: str) -> dict[str, Any] | None:
        """What is kept of a stage of this very demo; nothing if the file is damaged or altered."""
        try:
            kept, _ = read_sealed(self._file(stage), ("key", "seconds", "result"))
        except (OSError, ValueError):
            return None
        return kept if kept["key"] == self.key else None

    def _is_kept(self, stage: str) -> bool:
        return self._kept(stage) is not None

    def _forget(self, first: str) -> None:
        """Drop what a stage and all after it have found."""
        for stage in STAGES[STAGES.index(first) :]:
            self._file(stage).unlink(missing_ok=True)

    def _run_stage(self, stage: str, work: Callable[[], dict[str, Any]], keep: bool = True) -> None:
        index = STAGES.index(stage) + 1
        if keep and (kept := self._kept(stage)) is not None:
            self.results[stage], self.seconds[stage] = kept["result"], kept["seconds"]
            event = StageEvent(stage, index, "kept", kept["seconds"], self._note(stage))
            self._on_stage(event)
            return
        if keep:
            self._forget(stage)
        self._on_stage(StageEvent(stage, index, "started"))
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        self.seconds[stage] = seconds
        if keep:
            plain = {"key": self.key, "seconds": seconds, "result": result}
            write_sealed(self._file(stage), plain)
            result = json.loads(self._file(stage).read_text())["result"]
        self.results[stage] = result
        self._on_stage(StageEvent(stage, index, "finished", seconds, self._note(stage)))

    def _note(self, stage: str) -> str:
        found = self.results[stage]
        match stage:
            case "record":
                return f"{found['agents']} agents, {found['transitions']:,} transitions"
            case "fit":
                return f"held-out one-step RMSE {_short(found['heldout_rmse'])}"
            case "evaluate":
                errors = [row["rmse"] for row in found["errors"]["PerSim"]["agents"]]
                return f"open-loop RMSE {', '.join(_short(error) for error in errors)}"
            case "plan":
                means = [row["mean"] for row in found["returns"][MPC_LEARNED].values()]
                return f"mean returns {', '.join(_short(mean) for mean in means)}"
            case "train":
                row = found["returns"][TRAINED][str(self.settings.train_agent)]
                return f"mean return {_short(row['mean'])} in the true environment"
            case _:
                return str(self.out / PAGE)

    def _progress(self, stage: str, first: int = 0, share: int = 1) -> Callable[[int, int], None]:
        """Progress of one part of a stage: of ``share`` equal parts, the one after ``first``."""
        return lambda done, total: self._on_progress(stage, first * total + done, share * total)

    # -- stages --------------------------------------------------------------------------------

    def _record(self) -> dict[str, Any]:
        data = self._data()
        returns = np.bincount(data.episode - data.episode.min(), weights=data.reward)
        return {
            "id": data.dataset_id,
            "sha256": data.sha256(),
            "agents": data.num_agents,
            "transitions": len(data),
            "mean_length": float(data.lengths.mean()),
            "mean_return": float(returns.mean()),
        }

    def _data(self) -> Transitions:
        """This demo's transitions, from a data set that is there or is made now."""
        import minari

        from persim_gym.offline import record

        agents, name = self.settings.agents, self.suite.name
        standard = f"persim/{name}/random-v0"
        own = f"persim/{name}/random-{agents}-agents-seed-{self.seed}-v0"
        there = minari.list_local_datasets()
        for dataset_id in (standard, own):
            if dataset_id in there and (data := self._fitting(dataset_id)) is not None:
                return data
        # A small demo must not take the place of the paper's recording.
        dataset_id = standard if standard not in there and agents == DEFAULT_SIZE else own
        if dataset_id in there:
            raise ValueError(
                f"data set {dataset_id!r} is there, but is not what its name says: delete it "
                "(persim-gym datasets delete)"
            )
        record(
            self.suite.env_id,
            policy="random",
            agents=agents,
            seed=self.seed,
            dataset_id=dataset_id,
            on_progress=self._progress("record"),
            progress=False,
        )
        data = self._fitting(dataset_id)
        assert data is not None
        return data

    def _fitting(self, dataset_id: str) -> Transitions | None:
        """A data set's first agents, if they are recorded just as this demo would."""
        from persim_gym.offline import datasets, read_transitions

        dataset = datasets.load(dataset_id)
        card = datasets.card_of(dataset)
        expected = {
            "task": self.suite.name,
            "behaviour": "random",
            "seed": self.seed,
            "max_episode_steps": self.task.max_episode_steps,
        }
        agents = self.settings.agents
        if any(card.get(name) != value for name, value in expected.items()):
            return None
        people = self.suite.population(card.get("population"))
        if not np.array_equal(people.values[:agents], self.people.values):
            return None
        data = read_transitions(dataset)
        if data.num_agents > agents:  # the beginning of a larger recording
            data = dataclasses.replace(
                data.select(data.agent < agents),
                num_agents=agents,
                population=self.people.to_json(),
            )
        first = data.agent[data.starts]
        return data if np.array_equal(first, np.arange(agents)) else None

    def _fit(self) -> dict[str, Any]:
        data = self._data()
        options = {"seed": self.seed, **self.settings.fit}

        def report(first: int) -> Callable[[FitProgress], None]:
            progress = self._progress("fit", first, share=2)
            return lambda now: progress(now.epoch, now.epochs)

        sim = PerSim.fit(
            data, out=self.out / "simulator", on_epoch=report(0), progress=False, save_every=10.0,
            **options,
        )  # fmt: skip
        # The reference needs no spread: one member, and the same method and settings otherwise.
        reference = {**options, "ensemble_size": 1}
        one = PerSim.fit(
            pooled(data), out=self.out / "one-for-all", method=sim.card["fitted_by"],
            on_epoch=report(1), progress=False, save_every=10.0, **reference,
        )  # fmt: skip
        self._sim = sim
        return {**_fit_facts(sim), "one_for_all": _fit_facts(one)}

    @property
    def sim(self) -> PerSim:
        """The fitted simulators."""
        if self._sim is None:
            self._sim = PerSim.load(self.out / "simulator")
        return self._sim

    def _evaluate(self) -> dict[str, Any]:
        one = PerSim.load(self.out / "one-for-all")
        policy = scripted_policy(self.suite.name, self.seed)
        episodes = follow(
            self.task, self.true, TEST_AGENTS, policy,
            episodes=self.settings.episodes, seed=self.seed,
        )  # fmt: skip
        models: dict[str, Predictor] = {
            "PerSim": self.sim,
            "one for all": PooledModel(one),
            "nothing changes": Persistence(),
        }
        errors = {}
        for i, (name, model) in enumerate(models.items()):
            errors[name] = open_loop_error(model, episodes)
            self._on_progress("evaluate", i + 1, len(models) + 1)
        probe = probe_covariates(
            self.sim.latent_factors, self.people.values, self.people.names, seed=self.seed
        )
        arrays: dict[str, NDArray[Any]] = {}
        for i, error in enumerate(errors.values()):
            arrays |= _pack(f"{i}.", error)
        write_arrays(self._file("evaluate").with_suffix(".npz"), arrays | _pack("probe.", probe))
        self._on_progress("evaluate", len(models) + 1, len(models) + 1)
        return {
            "policy": policy.name,
            "episodes": self.settings.episodes,
            "warmup": WARMUP,
            "horizon": HORIZON,
            "errors": {name: error.to_json() for name, error in errors.items()},
            "latent": probe.to_json(),
        }

    def _plan(self) -> dict[str, Any]:
        from persim_gym.planning import MPC, choose_planner

        chosen = self.settings
        choice = choose_planner(self.task, **chosen.planner)
        planner: Any = choice.planner
        limit = chosen.plan_steps or self.task.max_episode_steps
        random = episode_outcomes(
            self.task, self.true, TEST_AGENTS, "random", chosen.return_episodes, self.seed,
            max_episode_steps=limit,
        )  # fmt: skip
        ways = {MPC_LEARNED: self.sim, MPC_TRUE: self.true}
        returns = {RANDOM: _by_agent(random)}
        seconds = {}
        for i, (name, model) in enumerate(ways.items()):
            began = time.perf_counter()
            mpc = MPC(model, task=self.task, planner=choice, seed=self.seed)
            found = episode_outcomes(
                self.task, self.true, TEST_AGENTS, mpc, chosen.plan_episodes, self.seed,
                max_episode_steps=limit, on_progress=self._progress("plan", i, share=2),
            )  # fmt: skip
            returns[name], seconds[name] = _by_agent(found), time.perf_counter() - began
        return {
            "planner": {"kind": type(planner).__name__, **dataclasses.asdict(planner)},
            "steps": limit,
            "returns": returns,
            "seconds": seconds,
        }

    def _train(self) -> dict[str, Any]:
        from persim_gym import training

        chosen, agent = self.settings, self.settings.train_agent
        algorithm = training.default_algorithm(self.task.action_space)
        config = training.default_config(self.suite.name, algorithm)
        model = training.train_in_simulator(
            self.sim, agent, chosen.train_steps, self.seed, algorithm, self._progress("train")
        )
        training.save_policy(
            model, self.out / "policy",
            {"task": self.suite.name, "agent": agent, "seed": self.seed,
             "steps": chosen.train_steps},
        )  # fmt: skip
        policy = training.load_policy(self.out / "policy")
        limit = chosen.plan_steps or self.task.max_episode_steps

        def judged(dynamics: Any) -> dict[str, Any]:
            found = episode_outcomes(
                self.task, dynamics, [agent], policy, chosen.return_episodes, self.seed,
                max_episode_steps=limit,
            )  # fmt: skip
            return _by_agent(found, [agent])

        return {
            "algorithm": algorithm,
            "agent": agent,
            "steps": chosen.train_steps,
            "config": dataclasses.asdict(config),
            "limit": limit,
            "returns": {TRAINED: judged(self.true)},
            "in_simulator": judged(GuardedSimulator(self.sim, guard=config.guard)),
        }

    # -- the page ------------------------------------------------------------------------------

    def _report(self) -> dict[str, Any]:
        results = self._collect()
        figures = self._figures(results)
        clip, why_none = self._clip()
        results["clip"] = {"agent": self.settings.train_agent, "missing": why_none}
        for name, of in figures.items():
            write_bytes(self.out / "figures" / f"{name}.png", of["light"])
        write_json(self.out / RESULTS, results)
        page = render_page(results, figures, clip)
        write_bytes(self.out / PAGE, page.encode())
        return {}

    def _collect(self) -> dict[str, Any]:
        """All numbers of the page, as plain types."""
        found = self.results
        returns = {**found["plan"]["returns"], **found["train"]["returns"]}
        order = (RANDOM, TRAINED, MPC_LEARNED, MPC_TRUE)
        quick = " --quick" if self.quick else ""
        return {
            "task": self.suite.name,
            "env_id": self.suite.env_id,
            "quick": self.quick,
            "seed": self.seed,
            "command": f"persim-gym demo --task {self.suite.name}{quick} --seed {self.seed}"
            f" --out {self.out}",
            "settings": dataclasses.asdict(self.settings),
            "covariates": {
                column.name: {"low": column.low, "high": column.high, "meaning": column.meaning}
                for column in self.suite.covariates.columns
            },
            "agents": [
                {"agent": agent, "covariates": self.people.covariates(agent)}
                for agent in TEST_AGENTS
            ],
            "data": found["record"],
            "fit": found["fit"],
            "open_loop": found["evaluate"],
            "returns": {name: returns[name] for name in order},
            "plan": {k: v for k, v in found["plan"].items() if k != "returns"},
            "training": {k: v for k, v in found["train"].items() if k != "returns"},
            "seconds": {stage: self.seconds[stage] for stage in STAGES[:-1]},
            "versions": _versions(self.suite.name),
            "machine": {
                "system": f"{platform.system()} {platform.machine()}",
                "cores": os.cpu_count(),
                "torch_threads": torch.get_num_threads(),
                "device": "cpu",
            },
        }

    def _figures(self, results: dict[str, Any]) -> dict[str, dict[str, bytes]]:
        arrays = read_arrays(self._file("evaluate").with_suffix(".npz"))
        names = list(results["open_loop"]["errors"])
        errors = {name: _unpack_error(f"{i}.", arrays) for i, name in enumerate(names)}
        probe = LatentProbe(
            names=self.people.names,
            **{f: arrays[f"probe.{f}"] for f in LatentProbe.__slots__ if f != "names"},
        )
        labels = {row["agent"]: describe(row["covariates"]) for row in results["agents"]}
        coordinates = plots.coordinate_names(self.suite.name, self.task.observation_space.shape[0])
        returns = {
            name: {int(agent): np.array(row["values"]) for agent, row in of.items()}
            for name, of in results["returns"].items()
        }
        drawn: dict[str, dict[str, bytes]] = {}
        for shade, theme in (("light", plots.LIGHT), ("dark", plots.DARK)):
            made = {
                "predictions": plots.prediction_fans(
                    errors["PerSim"], coordinates, labels, reference=errors["one for all"],
                    theme=theme,
                ),
                "horizon": plots.error_by_horizon(errors, theme=theme),
                "latent": plots.latent_factors(probe, tests=len(TEST_AGENTS), theme=theme),
                "returns": plots.returns_by_agent(returns, labels, theme=theme),
            }  # fmt: skip
            for name, figure in made.items():
                drawn.setdefault(name, {})[shade] = plots.to_png(figure)
        return drawn

    def _clip(self) -> tuple[bytes | None, str | None]:
        """The film, or why there is none: drawing needs OpenGL or a video encoder to be there."""
        from persim_gym.envs.rendering import write_video
        from persim_gym.plots import video

        file = self.out / "figures" / "true-and-learned.mp4"
        frames = video.comparison_frames(
            self.sim,
            self.settings.train_agent,
            scripted_policy(self.suite.name, self.seed),
            population=self.people,
            steps=self.settings.clip_steps,
            seed=self.seed,
        )
        try:
            write_video(file, frames, max(10, self.task.render_fps // 2))
        except Exception as error:  # whatever a machine without a screen or encoder raises
            first_line = (str(error).splitlines() or [""])[0]
            return None, f"{type(error).__name__}: {first_line}"
        return file.read_bytes(), None


# -- small things ----------------------------------------------------------------------------------


def _fit_facts(sim: PerSim) -> dict[str, Any]:
    """What the page says of a fit."""
    metrics, config = sim.card["metrics"], sim.card["config"]
    method = sim.card["fitted_by"]
    return {
        "method": method,
        "heldout_rmse": metrics["heldout_rmse"],
        "seconds": metrics["seconds"],
        "chosen": metrics.get("chosen"),
        "config": config.get(method, config),
    }


def _by_agent(
    outcomes: Outcomes, agents: tuple[int, ...] | list[int] = TEST_AGENTS
) -> dict[str, dict[str, Any]]:
    return {
        str(agent): {
            "mean": float(own.mean()),
            "sd": float(own.std(ddof=1)) if len(own) > 1 else None,
            "episodes": len(own),
            "values": own.tolist(),
            "stopped": int(stopped.sum()),
        }
        for agent, own, stopped in zip(agents, outcomes.returns, outcomes.stopped, strict=True)
    }


def _pack(prefix: str, values: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a dataclass, and of those in it, by name."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in dataclasses.fields(values):
        value = getattr(values, part.name)
        if dataclasses.is_dataclass(value):
            arrays |= _pack(f"{prefix}{part.name}.", value)
        elif isinstance(value, np.ndarray):
            arrays[prefix + part.name] = value
    return arrays


def _unpack_error(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> OpenLoopError:
    def of(kind: Any, start: str) -> dict[str, NDArray[Any]]:
        names = [f.name for f in dataclasses.fields(kind) if f.name != "traces"]
        return {name: arrays[start + name] for name in names}

    traces = Traces(**of(Traces, f"{prefix}traces."))
    return OpenLoopError(**of(OpenLoopError, prefix), traces=traces)


def _versions(task: str) -> dict[str, str]:
    names = ["gymnasium", "minari", "numpy", "stable-baselines3", "torch"]
    if task == "half-cheetah":
        names.insert(1, "mujoco")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {
        "persim_gym": persim_gym.__version__,
        "python": platform.python_version(),
        **versions,
    }


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
