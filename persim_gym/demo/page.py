"""The page of a demo: one HTML file that needs nothing beside it, for light and dark screens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.coordinates import (
    PAPER_COLUMN,
    grouped_rmse,
    headline_of,
    rmse_meaning,
    with_unit,
)
from persim_gym.pages import render
from persim_gym.plots.numbers import (
    duration,
    geometric,
    mean_of,
    number,
    plus_minus,
    r2_text,
    return_sd,
    return_text,
)

_REMARKS = {
    "cartpole": "A falling pole makes every error grow exponentially, and the shorter it is the "
    "faster: no model could keep agent 4's error small for long.",
    "mountain-car": "The jumps are from cars that hit the left wall and lose their speed in an "
    "instant: random actions hardly ever show it, and the fit leaves it out.",
}
_STAGES = {
    "record": "record the data (or find them there)",
    "fit": "fit the simulators, and the pooled model",
    "evaluate": "predict open loop, probe the latent factors",
    "plan": "plan with MPC",
    "train": "train in the simulator",
}
_SEARCH = {
    "RandomShooting": "random shooting",
    "CEM": "cross-entropy method",
    "ICEM": "iCEM, a cross-entropy method with coloured noise",
}


def render_page(
    results: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, bytes]],
    clip: bytes | None = None,
) -> str:
    """The page.

    Args:
        results: The numbers, as in ``results.json``.
        figures: PNGs by name (``predictions``, ``horizon``, ``latent``, ``returns``), each
            ``"light"`` and ``"dark"``.
        clip: An MP4 film of the true environment and the simulator side by side, or ``None``.
    """
    task, plan, training = results["task"], results["plan"], results["training"]
    agent = str(training["agent"])
    latent = results["open_loop"]["latent"]
    return render(
        "demo.html.jinja",
        title=SUITES[task].title,
        kind=SUITES[task].noun,
        script=SUITES[task].controller.description,
        remark=_REMARKS.get(task, ""),
        covariates=results["covariates"],
        data=results["data"],
        fit_time=duration(results["fit"]["seconds"]),
        quick=results["quick"],
        tiles=_tiles(results),
        clip=clip,
        film=results["clip"],
        figures=figures,
        open_loop=results["open_loop"],
        rmse=rmse_meaning(task),
        by_coordinate=_by_coordinate(results),
        errors=_errors(results),
        horizons=_horizons(results),
        latent={
            "text": ", ".join(f"{name} {r2_text(value)}" for name, value in latent["r2"].items()),
            "agents": latent["agents"],
        },
        planner={**plan["planner"], "search": _SEARCH[plan["planner"]["kind"]]},
        training={
            "algorithm": training["algorithm"].upper(),
            "steps": training["steps"],
            "agent": agent,
            "inside": return_text(training["in_simulator"][agent]["mean"]),
        },
        cut_off=plan["steps"] if plan["steps"] != SUITES[task].task().max_episode_steps else None,
        returns=_returns(results),
        command=results["command"],
        known=_known(results),
        stages=_stages(results),
        settings=json.dumps(
            {
                "demo": results["settings"],
                "fit": results["fit"]["config"],
                "planner": plan["planner"],
                "training": training["config"],
            },
            indent=2,
        ),
    )


# -- what the template shows -----------------------------------------------------------------------


def _tiles(results: Mapping[str, Any]) -> list[dict[str, str]]:
    returns = results["returns"]
    headline = headline_of(results["task"])
    ours, one, none = (
        with_unit(number(own[headline]), headline) for own in _means(results).values()
    )
    agent = str(results["training"]["agent"])
    trained, random = (
        return_text(returns[name][agent]["mean"])
        for name in ("trained in the simulator", "random actions")
    )
    learned, true = (
        return_text(mean_of(row["mean"] for row in returns[name].values()))
        for name in ("MPC, planned in the simulator", "MPC, planned in the true dynamics")
    )
    r2 = results["open_loop"]["latent"]["r2"]
    horizon = results["open_loop"]["horizon"]
    return [
        {
            "value": ours,
            "name": f"error of the predicted {headline.partition(' (')[0]}",
            "text": f"Root mean square error (RMSE) over {horizon} steps that the simulator "
            f"predicts alone. The pooled model: {one}, persistence: {none}.",
        },
        {
            "value": r2_text(min(r2.values())),
            "name": "R² of hidden covariates",
            "text": f"{', '.join(f'{name} {r2_text(value)}' for name, value in r2.items())}: read "
            "off the latent factors, which were learned without them.",
        },
        {
            "value": learned,
            "name": "return of planning in the simulators",
            "text": "MPC acts in the true environment, mean of the test agents. Planned in the "
            f"true dynamics: {true}.",
        },
        {
            "value": trained,
            "name": f"return of {results['training']['algorithm'].upper()} trained in a simulator",
            "text": f"Agent {agent}, in its true environment, which it has never seen. Random "
            f"actions: {random}.",
        },
    ]


def _means(results: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Each model's errors: of each coordinate, and the paper's; geometric means over the agents."""
    coordinates = SUITES[results["task"]].coordinates
    found = {}
    for name, own in results["open_loop"]["errors"].items():
        alone = [row["rmse_of_coordinates"] for row in own["agents"]]
        columns = grouped_rmse(np.array(alone, dtype=np.float64), coordinates)  # None is nan
        found[name] = {
            title: geometric(value for value in values.tolist() if not math.isnan(value))
            for title, values in columns.items()
        }
        found[name][PAPER_COLUMN] = geometric(row["rmse"] for row in own["agents"])
    return found


def _by_coordinate(results: Mapping[str, Any]) -> dict[str, Any]:
    means = _means(results)
    titles = next(iter(means.values()))
    rows = [[title, *(number(own[title]) for own in means.values())] for title in titles]
    return {"head": ["RMSE of", *means], "rows": rows}


def _errors(results: Mapping[str, Any]) -> dict[str, Any]:
    by_name = {name: own["agents"] for name, own in results["open_loop"]["errors"].items()}
    rows = []
    for i, agent in enumerate(results["agents"]):
        own = [rows_[i] for rows_ in by_name.values()]
        cells = [(plus_minus(row["rmse"], row["rmse_sd"]), r2_text(row["r2"])) for row in own]
        rows.append(
            [*_agent(agent), own[0]["episodes"], *(text for pair in cells for text in pair)]
        )
    plain = [(name, ()) for name in ("agent", *results["covariates"], "episodes")]
    return {"head": [*plain, *((name, ("RMSE ± sd", "R²")) for name in by_name)], "rows": rows}


def _horizons(results: Mapping[str, Any]) -> dict[str, Any]:
    by_name = {name: own["agents"] for name, own in results["open_loop"]["errors"].items()}
    rows = [
        [
            step,
            *(number(geometric(r["rmse_after_steps"][step] for r in by_name[n])) for n in by_name),
        ]
        for step in by_name["PerSim"][0]["rmse_after_steps"]
    ]
    return {"head": ["after steps", *by_name], "rows": rows}


def _returns(results: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for agent in results["agents"]:
        found = [way.get(str(agent["agent"])) for way in results["returns"].values()]
        cells = [
            "" if own is None else return_sd(own["mean"], own["sd"], own["episodes"])
            for own in found
        ]
        rows.append([*_agent(agent), *cells])
    return {"head": ["agent", *results["covariates"], *results["returns"]], "rows": rows}


def _agent(agent: Mapping[str, Any]) -> list[str]:
    return [str(agent["agent"]), *(f"{value:.4g}" for value in agent["covariates"].values())]


def _known(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, fit, machine = results["data"], results["fit"], results["machine"]
    return [
        ("task", f"{results['env_id']}, seed {results['seed']}"),
        ("data set", f"{data['id']}, sha256 {data['sha256'][:16]}…"),
        ("model", _model(fit)),
        ("held-out one-step RMSE", number(fit["heldout_rmse"])),
        (
            "machine",
            f"{machine['system']}, {machine['cores']} cores, {machine['device']}, "
            f"threads: {machine['threads']}",
        ),
        ("versions", ", ".join(f"{name} {v}" for name, v in results["versions"].items())),
    ]


def _stages(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds = results["seconds"]
    named = [(_STAGES[name], duration(own)) for name, own in seconds.items()]
    return [*named, ("in all", duration(sum(seconds.values())))]


def _model(fit: Mapping[str, Any]) -> str:
    """The fitted model in one line."""
    config, chosen = fit["config"], fit["chosen"]
    members = f"{config['ensemble_size']} members, fitted in {duration(fit['seconds'])}"
    if fit["method"] == "als":
        return (
            f"closed form: polynomials of degree {chosen['degree']}, rank {chosen['rank']}, "
            f"{chosen['terms']:,} terms a member; {members}"
        )
    return (
        f"networks: rank {config['rank']}, state encoder "
        f"{' × '.join(map(str, config['state_hidden']))}, {config['epochs']} epochs; {members}"
    )
