"""The page of a demo: one HTML file that needs nothing beside it, for light and dark screens."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from persim_gym.benchmark import plots

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
    title = f"{_TITLES[results['task']]}: a simulator for every agent"
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


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
<p class="eyebrow">persim_gym demo · {_text(_TITLES[task])}</p>
<h1>A simulator for every agent, from one recording each</h1>
<p class="lead">{data["agents"]} {_KINDS[task]} differ in {_text(hidden)}, and nobody told the
learner by how much. Of each there is one recording of random actions, {data["mean_length"]:.0f}
steps long on average. From these {data["transitions"]:,} transitions PerSim learned the simulators
of all {data["agents"]} at once, in {_duration(results["fit"]["seconds"])}. This page asks how far
they can be trusted, and what they are good for.</p>
{quick}</header>"""


def _tiles(results: Mapping[str, Any]) -> str:
    errors = results["open_loop"]["errors"]
    ours, one = (
        _mean(row["rmse"] for row in errors[n]["agents"]) for n in ("PerSim", "one for all")
    )
    agent = str(results["training"]["agent"])
    trained = results["returns"]["trained in the simulator"][agent]
    random = results["returns"]["random actions"][agent]
    learned, true = (
        _mean(row["mean"] for row in results["returns"][name].values())
        for name in ("MPC, planned in the simulator", "MPC, planned in the true dynamics")
    )
    names = list(results["open_loop"]["latent"]["r2"])
    r2 = results["open_loop"]["latent"]["r2"]
    algorithm = results["training"]["algorithm"].upper()
    horizon = results["open_loop"]["horizon"]
    return f"""<section class="tiles">
{
        _tile(
            _number(ours),
            "error of blind prediction",
            f"RMSE over {horizon} steps, mean of the test agents. One simulator for all agents: "
            f"{_number(one)}.",
        )
    }
{
        _tile(
            _share(min(r2.values())),
            "R² of hidden covariates",
            f"{', '.join(f'{name} {_share(r2[name])}' for name in names)}: read off the latent "
            "factors, which were learned without them.",
        )
    }
{
        _tile(
            _return(learned),
            "return of planning in the simulators",
            "MPC acts in the true environment, mean of the test agents. Planned in the true "
            f"dynamics: {_return(true)}.",
        )
    }
{
        _tile(
            _return(trained["mean"]),
            f"return of {algorithm} trained in a simulator",
            f"Agent {agent}, in its true environment, which it has never seen. Random actions: "
            f"{_return(random['mean'])}.",
        )
    }
</section>"""


def _film(results: Mapping[str, Any], clip: bytes | None) -> str:
    agent = results["clip"]["agent"]
    if clip is None:
        missing = results["clip"]["missing"]
        return (
            f'<section><p class="note">No film: this machine could not draw ({_text(missing)}).'
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
            + [cell for row in own for cell in (_pm(row["rmse"], row["rmse_sd"]), _r2(row["r2"]))]
        )
    steps = list(by_name["PerSim"][0]["rmse_after_steps"])
    after = [
        [step]
        + [_number(_geometric(r["rmse_after_steps"][step] for r in by_name[n])) for n in names]
        for step in steps
    ]
    return f"""<section>
<h2>How well do they predict?</h2>
<p>Each of the five test agents acts in its true environment, for {found["episodes"]} episodes under
a policy that made no data: {_SCRIPTS[results["task"]]}, with a tenth of its actions random. After
{found["warmup"]} real steps the simulator is left to itself and predicts the next
{found["horizon"]} from the actions alone.</p>
{
        _picture(
            figures["predictions"],
            "Predicted and true trajectories of the five test agents",
            "One episode of each test agent, chosen by its length before anything was predicted. "
            "Thick blue: what was. Red: what PerSim predicted. Yellow: what one simulator for all "
            "predicted, fitted on the same data by the same settings, all agents taken for one.",
        )
    }
{_two_row_table(head, rows)}
<p class="small">RMSE: root of the mean squared error over all steps and coordinates of an episode,
in the data's units, unscaled; mean and standard deviation over episodes. R²: share of an episode's
variance that is predicted, median over episodes. Steps count until the true episode ends.</p>
<div class="pair"><div>
{
        _picture(
            figures["horizon"],
            "Error by the number of open-loop steps",
            "Geometric mean over the test agents, and their range. The scale is logarithmic. "
            + _REMARKS.get(results["task"], ""),
        )
    }
</div><div>
{_table(["after steps", *names], after)}
<p class="small">RMSE after so many open-loop steps, geometric mean over the test agents of which an
episode lives so long.</p>
</div></div>
</section>"""


def _latent(results: Mapping[str, Any], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    latent = results["open_loop"]["latent"]
    said = ", ".join(f"{name} {_share(value)}" for name, value in latent["r2"].items())
    return f"""<section>
<h2>Do the latent factors know what was hidden?</h2>
<p>PerSim gives each agent a handful of numbers, learned from its trajectory and everybody else's.
Nobody told it the covariates. A small nonlinear probe (kernel ridge regression) reads them off
these numbers, for agents that it was not fitted on: R² {_text(said)}, over {latent["agents"]}
agents.</p>
{
        _picture(
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
            cells.append("" if own is None else _pm_return(own["mean"], own["sd"], own["episodes"]))
        rows.append(cells)
    inside = training["in_simulator"][agent]
    limit = ""
    if plan["steps"] != _LIMITS[results["task"]]:
        limit = f" Episodes are cut off after {plan['steps']} steps."
    head = ["agent", *results["covariates"], *results["returns"]]
    return f"""<section>
<h2>What are they good for?</h2>
<p>Every return here is from the <em>true</em> environment. <strong>Planned in</strong>:
model-predictive control ({_text(_SEARCH[planner["kind"]])}, {planner["candidates"]:,} candidates
over {planner["horizon"]} steps) replans at every step, in the simulator or, as the mark to reach,
in the true dynamics. <strong>Trained in</strong>: {training["algorithm"].upper()} of
Stable-Baselines3 learned for {training["steps"]:,} steps in the simulator of agent {agent} alone,
where it judged itself too; inside it reaches {_return(inside["mean"])}.{limit}</p>
{
        _picture(
            figures["returns"],
            "Returns of each test agent",
            "A dot is an episode, a bar the mean. All ways to act start from the same states.",
        )
    }
{_table(head, rows)}
<p class="small">Mean ± standard deviation over episodes, and how many there were. A standard
deviation of two episodes says little.</p>
</section>"""


def _how(results: Mapping[str, Any]) -> str:
    data, fit = results["data"], results["fit"]
    stages = [[_STAGES[name], _duration(s)] for name, s in results["seconds"].items()]
    stages.append(["in all", _duration(sum(results["seconds"].values()))])
    config, machine = fit["config"], results["machine"]
    facts = [
        ("task", f"{results['env_id']}, seed {results['seed']}"),
        ("data set", f"{data['id']}, sha256 {data['sha256'][:16]}…"),
        ("model", _model(fit)),
        ("held-out one-step RMSE", _number(fit["heldout_rmse"])),
        ("machine", f"{machine['system']}, {machine['cores']} cores, {machine['device']}"),
        ("versions", ", ".join(f"{name} {v}" for name, v in results["versions"].items())),
    ]
    listed = "\n".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts)
    settings = {
        "demo": results["settings"],
        "fit": config,
        "planner": results["plan"]["planner"],
        "training": results["training"]["config"],
    }
    return f"""<section>
<h2>How this page was made</h2>
<pre class="command">{_text(results["command"])}</pre>
<div class="pair"><dl>{listed}</dl>
<div>{_table(["stage", "time"], stages)}</div></div>
<details><summary>All settings</summary><pre>{_text(json.dumps(settings, indent=2))}</pre></details>
<p class="small">All numbers of this page are in <code>results.json</code> beside it. The method is
that of <cite>PerSim: Data-Efficient Offline Reinforcement Learning with Heterogeneous Agents via
Personalized Simulators</cite> (Agarwal et al., NeurIPS 2021).</p>
</section>"""


def _model(fit: Mapping[str, Any]) -> str:
    """The fitted model in one line."""
    config, chosen = fit["config"], fit["chosen"]
    members = f"{config['ensemble_size']} members, fitted in {_duration(fit['seconds'])}"
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
_SEARCH = {"RandomShooting": "random shooting", "CEM": "cross-entropy method"}


# -- parts -----------------------------------------------------------------------------------------


def _tile(value: str, name: str, text: str) -> str:
    return (
        f'<div class="tile"><p class="value">{_text(value)}</p><p class="name">{_text(name)}</p>'
        f"<p>{_text(text)}</p></div>"
    )


def _picture(of: Mapping[str, bytes], alt: str, caption: str) -> str:
    light, dark = (plots.data_url(of[shade], "image/png") for shade in ("light", "dark"))
    width = int.from_bytes(of["light"][16:20], "big") // plots.DENSITY
    return f"""<figure><picture>
<source media="(prefers-color-scheme: dark)" srcset="{dark}">
<img src="{light}" alt="{_text(alt)}" style="width:{width}px">
</picture><figcaption>{_text(caption)}</figcaption></figure>"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead>{_rows(rows)}</table></div>'


def _two_row_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in which ``"name|first|second"`` is a heading over several columns."""
    top, below = "", ""
    for cell in head:
        name, *parts = cell.split("|")
        if parts:
            top += f'<th class="over" colspan="{len(parts)}">{_text(name)}</th>'
            below += "".join(f"<th>{_text(part)}</th>" for part in parts)
        else:
            top += f'<th rowspan="2">{_text(name)}</th>'
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr><tr>{below}</tr></thead>{_rows(rows)}'
        "</table></div>"
    )


def _rows(rows: Sequence[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    return "<tbody>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</tbody>"


# -- numbers ---------------------------------------------------------------------------------------


def _text(value: object) -> str:
    return html.escape(
        str(value).replace("-", "\N{MINUS SIGN}") if _is_number(value) else str(value)
    )


def _is_number(value: object) -> bool:
    text = str(value)
    return text.startswith("-") and text[1:2].isdigit()


def _number(value: float | None) -> str:
    """Three significant digits; powers of ten for what is very small or large."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "–"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}"
    exponent = math.floor(math.log10(abs(value)))
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10**exponent:.1f}·10{raised}"


def _pm(value: float | None, sd: float | None) -> str:
    if value is None:
        return "–"
    return _number(value) if sd is None else f"{_number(value)} ± {_number(sd)}"


def _pm_return(value: float, sd: float | None, episodes: int) -> str:
    spread = "" if sd is None else f" ± {sd:.1f}"
    return f"{_return(value)}{spread} ({episodes})"


def _return(value: float | None) -> str:
    return (
        "–" if value is None else f"{value:.1f}".removesuffix(".0").replace("-", "\N{MINUS SIGN}")
    )


def _r2(value: float | None) -> str:
    if value is None:
        return "–"
    if value < -99:
        return "< \N{MINUS SIGN}99"
    return _share(value).replace("-", "\N{MINUS SIGN}")


def _share(value: float | None) -> str:
    """A share, with so many digits that 0.99998 is not called 1."""
    if value is None:
        return "–"
    if value < 0:
        return f"{value:.2f}"
    if value == 1:
        return "1"
    return next((f"{value:.{k}f}" for k in (3, 4, 5) if value < 1 - 0.5 * 10**-k), "> 0.99999")


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _geometric(values: Any) -> float | None:
    known = [value for value in values if value]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


_STYLE = """
:root { --paper: #f7f6f2; --card: #ffffff; --ink: #2b3238; --faint: #6c7680; --line: #e2e2dc;
  --warm: #d1603d; --cool: #3a6ea5; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --card: #1e2226; --ink: #e6e4de; --faint: #9aa4ad; --line: #333a40;
    --warm: #ef8259; --cool: #79addb; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 56px 24px 80px; }
h1 { font-size: clamp(28px, 4.6vw, 44px); line-height: 1.12; letter-spacing: -0.02em;
  margin: 0 0 18px; text-wrap: balance; }
h2 { font-size: 25px; letter-spacing: -0.01em; margin: 0 0 10px; }
p { margin: 0 0 14px; max-width: 76ch; }
.eyebrow { color: var(--warm); font-weight: 600; margin-bottom: 10px; }
.lead { font-size: 18px; }
.small, figcaption { color: var(--faint); font-size: 14px; }
.note { background: color-mix(in srgb, var(--warm) 12%, var(--card)); border-radius: 10px;
  padding: 12px 16px; max-width: none; }
section { margin-top: 56px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(225px, 1fr)); gap: 16px;
  margin-top: 32px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 20px 20px 8px; }
.tile .value { font-size: 30px; font-weight: 700; letter-spacing: -0.02em; margin: 0;
  line-height: 1.15; font-variant-numeric: tabular-nums; }
.tile .name { font-weight: 600; color: var(--cool); margin: 4px 0 8px; line-height: 1.3; }
.tile p:last-child { color: var(--faint); font-size: 14px; line-height: 1.45; }
figure { margin: 22px 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 16px; }
figure img, figure video { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure video { width: 100%; border-radius: 8px; }
figcaption { margin-top: 12px; max-width: 92ch; }
.wide { overflow-x: auto; margin: 18px 0 12px; }
table { border-collapse: collapse; font-size: 14.5px; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; white-space: normal;
  line-height: 1.3; }
td:first-child { white-space: normal; }
th.over { text-align: center; }
thead tr:first-child th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: color-mix(in srgb, var(--cool) 7%, transparent); }
.pair { display: grid; grid-template-columns: 3fr 2fr; gap: 28px; align-items: start; }
.pair > * { min-width: 0; }
@media (max-width: 820px) { .pair { grid-template-columns: 1fr; } }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; overflow-x: auto; font-size: 13.5px; line-height: 1.5; }
.command { font-size: 15px; }
dl { margin: 18px 0 0; display: grid; grid-template-columns: auto 1fr; gap: 6px 18px;
  font-size: 14.5px; align-content: start; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--cool); font-weight: 600; }
"""
