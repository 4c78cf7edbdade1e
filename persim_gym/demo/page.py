"""The page of a demo: one HTML file that needs nothing beside it, for light and dark screens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from persim_gym.experiments.report.markup import (
    document,
    escaped,
    picture,
    table,
    tile,
    two_row_table,
)
from persim_gym.plots import figures as plots
from persim_gym.plots.numbers import (
    duration,
    geometric,
    mean_of,
    number,
    plus_minus,
    r2_text,
    return_spread,
    return_text,
    share,
)

_TITLES = {"cartpole": "CartPole", "mountain-car": "MountainCar", "half-cheetah": "HalfCheetah"}
_KINDS = {"cartpole": "carts with poles", "mountain-car": "cars", "half-cheetah": "cheetahs"}
_SCRIPTS = {
    "cartpole": "linear feedback that walks the cart to a place of its own in each episode",
    "mountain-car": "bang-bang control that pushes the way the car is going",
    "half-cheetah": "a sinusoidal gait, of another frequency and amplitude in each episode",
}
_REMARKS = {
    "cartpole": "A falling pole makes every error grow exponentially, and the shorter it is the "
    "faster: no model could keep agent 4's error small for long.",
    "mountain-car": "The jumps are from cars that hit the left wall and lose their speed in an "
    "instant: random actions hardly ever show it, and the fit leaves it out.",
}
_STAGES = {
    "record": "record the data (or find them there)",
    "fit": "fit the simulators, and one for all agents",
    "evaluate": "predict open loop, probe the latent factors",
    "plan": "plan with MPC",
    "train": "train in the simulator",
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
        clip: An MP4 film of truth and simulator side by side, or ``None``.
    """
    sections = [
        _head(results),
        _tiles(results),
        _film(results, clip),
        _predictions(results, figures),
        _latent(results, figures),
        _returns(results, figures),
        _how(results),
    ]
    return document(f"{_TITLES[results['task']]}: a simulator for every agent", sections)


# -- sections --------------------------------------------------------------------------------------


def _head(results: Mapping[str, Any]) -> str:
    data, task = results["data"], results["task"]
    hidden = " and ".join(results["covariates"])
    quick = ""
    if results["quick"]:
        quick = (
            '<p class="note"><strong>A quick run.</strong> Fewer agents, epochs, episodes and '
            "candidates than in the full demo: it shows that everything works, its numbers say "
            "little. The settings are at the end of the page.</p>"
        )
    return f"""<header>
<p class="eyebrow">persim_gym demo · {escaped(_TITLES[task])}</p>
<h1>A simulator for every agent, from one recording each</h1>
<p class="lead">{escaped(data["agents"])} {_KINDS[task]} differ in {escaped(hidden)}, and nobody
told the learner by how much. Of each there is one recording of random actions,
{data["mean_length"]:.0f} steps long on average. From these {data["transitions"]:,} transitions
PerSim learned the simulators of all {escaped(data["agents"])} at once, in
{duration(results["fit"]["seconds"])}. This page asks how far
they can be trusted, and what they are good for.</p>
{quick}</header>"""


def _tiles(results: Mapping[str, Any]) -> str:
    errors = results["open_loop"]["errors"]
    ours, one = (
        mean_of(row["rmse"] for row in errors[n]["agents"]) for n in ("PerSim", "one for all")
    )
    agent = str(results["training"]["agent"])
    trained = results["returns"]["trained in the simulator"][agent]
    random = results["returns"]["random actions"][agent]
    learned, true = (
        mean_of(row["mean"] for row in results["returns"][name].values())
        for name in ("MPC, planned in the simulator", "MPC, planned in the true dynamics")
    )
    names = list(results["open_loop"]["latent"]["r2"])
    r2 = results["open_loop"]["latent"]["r2"]
    algorithm = results["training"]["algorithm"].upper()
    horizon = results["open_loop"]["horizon"]
    return f"""<section class="tiles">
{
        tile(
            number(ours),
            "error of blind prediction",
            f"RMSE over {horizon} steps, mean of the test agents. One simulator for all agents: "
            f"{number(one)}.",
        )
    }
{
        tile(
            share(min(r2.values())),
            "R² of hidden covariates",
            f"{', '.join(f'{name} {share(r2[name])}' for name in names)}: read off the latent "
            "factors, which were learned without them.",
        )
    }
{
        tile(
            return_text(learned),
            "return of planning in the simulators",
            "MPC acts in the true environment, mean of the test agents. Planned in the true "
            f"dynamics: {return_text(true)}.",
        )
    }
{
        tile(
            return_text(trained["mean"]),
            f"return of {algorithm} trained in a simulator",
            f"Agent {agent}, in its true environment, which it has never seen. Random actions: "
            f"{return_text(random['mean'])}.",
        )
    }
</section>"""


def _film(results: Mapping[str, Any], clip: bytes | None) -> str:
    agent = results["clip"]["agent"]
    if clip is None:
        missing = results["clip"]["missing"]
        return (
            f'<section><p class="note">No film: this machine could not draw ({escaped(missing)}).'
            "</p></section>"
        )
    url = plots.data_url(clip, "video/mp4")
    return f"""<section>
<h2>The same actions, in truth and in the simulator</h2>
<figure><video src="{url}" autoplay loop muted playsinline controls></video>
<figcaption>Agent {agent}, at half speed. Both sides begin in the same state and are given the same
actions. The right one never sees the truth again: each step goes from its own last
prediction.</figcaption></figure>
</section>"""


def _predictions(results: Mapping[str, Any], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    found = results["open_loop"]
    names = list(found["errors"])
    coordinates = list(results["covariates"])
    head = ["agent", *coordinates, "episodes", *(f"{n}|RMSE ± sd|R²" for n in names)]
    rows = []
    by_name = {name: found["errors"][name]["agents"] for name in names}
    for i, agent in enumerate(results["agents"]):
        own = [by_name[name][i] for name in names]
        rows.append(
            [str(agent["agent"]), *(f"{v:.4g}" for v in agent["covariates"].values())]
            + [str(own[0]["episodes"])]
            + [
                cell
                for row in own
                for cell in (plus_minus(row["rmse"], row["rmse_sd"]), r2_text(row["r2"]))
            ]
        )
    steps = list(by_name["PerSim"][0]["rmse_after_steps"])
    after = [
        [step] + [number(geometric(r["rmse_after_steps"][step] for r in by_name[n])) for n in names]
        for step in steps
    ]
    return f"""<section>
<h2>How well do they predict?</h2>
<p>Each of the five test agents acts in its true environment, for {
        escaped(found["episodes"])
    } episodes under
a policy that made no data: {_SCRIPTS[results["task"]]}, with a tenth of its actions random. After
{escaped(found["warmup"])} real steps the simulator is left to itself and predicts the next
{escaped(found["horizon"])} from the actions alone.</p>
{
        picture(
            figures["predictions"],
            "Predicted and true trajectories of the five test agents",
            "One episode of each test agent, chosen by its length before anything was predicted. "
            "Thick blue: what was. Red: what PerSim predicted. Yellow: what one simulator for all "
            "predicted, fitted on the same data by the same settings, all agents taken for one.",
        )
    }
{two_row_table(head, rows)}
<p class="small">RMSE: root of the mean squared error over all steps and coordinates of an episode,
in the data's units, unscaled; mean and standard deviation over episodes. R²: share of an episode's
variance that is predicted, median over episodes. Steps count until the true episode ends.</p>
<div class="pair"><div>
{
        picture(
            figures["horizon"],
            "Error by the number of open-loop steps",
            "Geometric mean over the test agents, and their range. The scale is logarithmic. "
            + _REMARKS.get(results["task"], ""),
        )
    }
</div><div>
{table(["after steps", *names], after)}
<p class="small">RMSE after so many open-loop steps, geometric mean over the test agents of which an
episode lives so long.</p>
</div></div>
</section>"""


def _latent(results: Mapping[str, Any], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    latent = results["open_loop"]["latent"]
    said = ", ".join(f"{name} {share(value)}" for name, value in latent["r2"].items())
    return f"""<section>
<h2>Do the latent factors know what was hidden?</h2>
<p>PerSim gives each agent a handful of numbers, learned from its trajectory and everybody else's.
Nobody told it the covariates. A small nonlinear probe (kernel ridge regression) reads them off
these numbers, for agents that it was not fitted on: R² {escaped(said)}, over {
        escaped(latent["agents"])
    }
agents.</p>
{
        picture(
            figures["latent"],
            "Covariates read off the latent factors, and the factors themselves",
            "Every point is an agent, the circles are the test agents. Five-fold cross-validation.",
        )
    }
</section>"""


def _returns(results: Mapping[str, Any], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    plan, training = results["plan"], results["training"]
    planner = plan["planner"]
    agent = str(training["agent"])
    rows = []
    for of in results["agents"]:
        key = str(of["agent"])
        cells = [key, *(f"{v:.4g}" for v in of["covariates"].values())]
        for way in results["returns"].values():
            own = way.get(key)
            cells.append(
                "" if own is None else return_spread(own["mean"], own["sd"], own["episodes"])
            )
        rows.append(cells)
    inside = training["in_simulator"][agent]
    limit = ""
    if plan["steps"] != _LIMITS[results["task"]]:
        limit = f" Episodes are cut off after {escaped(plan['steps'])} steps."
    head = ["agent", *results["covariates"], *results["returns"]]
    return f"""<section>
<h2>What are they good for?</h2>
<p>Every return here is from the <em>true</em> environment. <strong>Planned in</strong>:
model-predictive control ({escaped(_SEARCH[planner["kind"]])}, {planner["candidates"]:,} candidates
over {
        escaped(planner["horizon"])
    } steps) replans at every step, in the simulator or, as the mark to reach,
in the true dynamics. <strong>Trained in</strong>: {escaped(training["algorithm"].upper())} of
Stable-Baselines3 learned for {training["steps"]:,} steps in the simulator of agent {agent} alone,
where it judged itself too; inside it reaches {return_text(inside["mean"])}.{limit}</p>
{
        picture(
            figures["returns"],
            "Returns of each test agent",
            "A dot is an episode, a bar the mean. All ways to act start from the same states.",
        )
    }
{table(head, rows)}
<p class="small">Mean ± standard deviation over episodes, and how many there were. A standard
deviation of two episodes says little.</p>
</section>"""


def _how(results: Mapping[str, Any]) -> str:
    data, fit = results["data"], results["fit"]
    stages = [[_STAGES[name], duration(s)] for name, s in results["seconds"].items()]
    stages.append(["in all", duration(sum(results["seconds"].values()))])
    config, machine = fit["config"], results["machine"]
    facts = [
        ("task", f"{results['env_id']}, seed {results['seed']}"),
        ("data set", f"{data['id']}, sha256 {data['sha256'][:16]}…"),
        ("model", _model(fit)),
        ("held-out one-step RMSE", number(fit["heldout_rmse"])),
        ("machine", f"{machine['system']}, {machine['cores']} cores, {machine['device']}"),
        ("versions", ", ".join(f"{name} {v}" for name, v in results["versions"].items())),
    ]
    listed = "\n".join(f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in facts)
    settings = {
        "demo": results["settings"],
        "fit": config,
        "planner": results["plan"]["planner"],
        "training": results["training"]["config"],
    }
    return f"""<section>
<h2>How this page was made</h2>
<pre class="command">{escaped(results["command"])}</pre>
<div class="pair"><dl>{listed}</dl>
<div>{table(["stage", "time"], stages)}</div></div>
<details><summary>All settings</summary>
<pre>{escaped(json.dumps(settings, indent=2))}</pre></details>
<p class="small">All numbers of this page are in <code>results.json</code> beside it. The method is
that of <cite>PerSim: Data-Efficient Offline Reinforcement Learning with Heterogeneous Agents via
Personalized Simulators</cite> (Agarwal et al., NeurIPS 2021).</p>
</section>"""


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


_LIMITS = {"cartpole": 200, "mountain-car": 500, "half-cheetah": 1000}
_SEARCH = {
    "RandomShooting": "random shooting",
    "CEM": "cross-entropy method",
    "ICEM": "iCEM, a cross-entropy method with coloured noise",
}
