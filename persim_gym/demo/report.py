"""The end of a demo: all its numbers in one file, its figures, its film and its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from persim_gym.core import describe
from persim_gym.demo import stages
from persim_gym.demo.page import render_page
from persim_gym.demo.stages import Demo
from persim_gym.envs.rendering import write_video
from persim_gym.experiments.cell import TEST_AGENTS
from persim_gym.experiments.row_files import machine, versions
from persim_gym.plots import figures, video
from persim_gym.plots.style import pngs
from persim_gym.policies.scripted import scripted_policy
from persim_gym.writing import write_bytes, write_json

PAGE, RESULTS, FIGURES = "index.html", "results.json", "figures"
#: The two coordinates of a task that its figure of predictions shows, if not the first two.
_SHOWN = {"cartpole": (0, 2)}


def write_demo(
    demo: Demo, found: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float]
) -> Path:
    """Write the page of a demo, and what it shows beside it."""
    results = _results(demo, found, seconds)
    drawn = _figures(demo, results)
    clip, why_none = _clip(demo)
    results["clip"] = {"agent": demo.settings.train_agent, "missing": why_none}
    for name, shades in drawn.items():
        write_bytes(demo.out / FIGURES / f"{name}.png", shades["light"])
    write_json(demo.out / RESULTS, results)
    return write_bytes(demo.out / PAGE, render_page(results, drawn, clip).encode())


def _results(
    demo: Demo, found: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """All numbers of the page, as plain types."""
    suite = demo.suite
    returns = {**found["plan"]["returns"], **found["train"]["returns"]}
    order = (stages.RANDOM, stages.TRAINED, stages.MPC_LEARNED, stages.MPC_TRUE)
    quick = " --quick" if demo.quick else ""
    return {
        "task": suite.name,
        "env_id": suite.env_id,
        "quick": demo.quick,
        "seed": demo.seed,
        "command": f"persim-gym demo --task {suite.name}{quick} --seed {demo.seed}"
        f" --out {demo.out}",
        "settings": dataclasses.asdict(demo.settings),
        "covariates": {
            column.name: {"low": column.low, "high": column.high, "meaning": column.meaning}
            for column in suite.covariates.columns
        },
        "agents": [
            {"agent": agent, "covariates": demo.population.covariates(agent)}
            for agent in TEST_AGENTS
        ],
        "data": found["record"],
        "fit": found["fit"],
        "open_loop": found["evaluate"],
        "returns": {name: returns[name] for name in order},
        "plan": {k: v for k, v in found["plan"].items() if k != "returns"},
        "training": {k: v for k, v in found["train"].items() if k != "returns"},
        "seconds": dict(seconds),
        "versions": versions("stable-baselines3"),
        "machine": machine("cpu", torch.get_num_threads()),
    }


def _figures(demo: Demo, results: Mapping[str, Any]) -> dict[str, dict[str, bytes]]:
    errors, probe = stages.read_evaluation(demo)
    labels = {row["agent"]: describe(row["covariates"]) for row in results["agents"]}
    returns = {
        name: {int(agent): np.array(row["values"]) for agent, row in of.items()}
        for name, of in results["returns"].items()
    }
    draw = {
        "predictions": partial(
            figures.prediction_fans, errors[stages.PERSIM], demo.suite.coordinates, labels,
            reference=errors[stages.POOLED], columns=_SHOWN.get(demo.suite.name),
        ),
        "horizon": partial(figures.error_by_horizon, errors),
        "latent": partial(figures.latent_factors, probe, tests=len(TEST_AGENTS)),
        "returns": partial(figures.returns_by_agent, returns, labels),
    }  # fmt: skip
    return {name: pngs(figure) for name, figure in draw.items()}


def _clip(demo: Demo) -> tuple[bytes | None, str | None]:
    """The film, or why there is none: drawing needs OpenGL or a video encoder to be there."""
    file = demo.out / FIGURES / "true-and-learned.mp4"
    frames = video.comparison_frames(
        demo.simulators, demo.settings.train_agent, scripted_policy(demo.suite.name, demo.seed),
        population=demo.population, steps=demo.settings.clip_steps, seed=demo.seed,
    )  # fmt: skip
    try:
        write_video(file, frames, max(10, demo.task.render_fps // 2))
    except Exception as error:  # whatever a machine without a screen or encoder raises
        first_line = (str(error).splitlines() or [""])[0]
        return None, f"{type(error).__name__}: {first_line}"
    return file.read_bytes(), None
