"""Plans, training and films for simulators of own data, of which there is no true environment."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from persim_gym.cli import resolve
from persim_gym.cli.group import on_interrupt, say
from persim_gym.cli.next_step import agent_word, reward_words, say_next, say_plan
from persim_gym.cli.output import cell, print_facts, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from persim_gym.cli.tables import Columns
    from persim_gym.learned.outcomes.given_reward import Reward
    from persim_gym.learned.simulator import PerSim
    from persim_gym.planning import PlannerChoice
    from persim_gym.planning.recommendation import Recommendation

#: Coordinates whose predictions a terminal shows; all of them are in files and in JSON.
SHOWN = 4


def with_reward(sim: PerSim, text: str | None) -> PerSim:
    """A simulator with the reward of a command line, or with its own.

    Raises:
        ValueError: If the reward is not allowed, or there is none at all.
    """
    from persim_gym.learned.outcomes.given_reward import check_has_reward, read_reward

    reward: Reward | None = read_reward(text)
    sim = sim if reward is None else sim.with_reward(reward)
    check_has_reward(sim.task)
    return sim


def units_of(sim: PerSim) -> Mapping[str, str]:
    """Units of columns by name, as far as they were declared."""
    from persim_gym.learned.outcomes.given_reward import columns_of

    columns = columns_of(sim.task)
    found: dict[str, str] = {}
    for names, kind in ((columns.state, "obs_units"), (columns.action, "action_units")):
        units = getattr(sim.task, kind, None) or [""] * len(names)
        found |= {name: unit for name, unit in zip(names, units, strict=True) if unit}
    return found


def plan(
    sim: PerSim,
    model: str,
    agents: str,
    choice: PlannerChoice,
    *,
    data: Any,
    start: int | None,
    steps: int | None,
    penalty: float | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Plan from the agents' records inside their simulator, and say what is predicted."""
    from persim_gym.planning.recommending import recommend_all

    chosen = resolve.find_agents(agents, sim, None)
    with on_interrupt("nothing was written"), progress_bar("plan") as report:
        found = recommend_all(
            sim,
            chosen,
            data=data,
            start=start,
            steps=steps,
            planner=choice,
            penalty=penalty,
            seed=seed,
            on_progress=report,
        )
    written = [] if out is None else _write(found, sim, model, out)
    if as_json:
        print_json({"simulator": model, "plans": [one.to_json() for one in found]})
        return
    for one in found:
        _print_plan(one, units_of(sim))
    print_facts("Plan", [("reward", found[0].reward), *(("written", path) for path in written)])
    say("note", "nothing was tried out: this is what the simulator predicts of its own plan")
    agent = agent_word(sim, chosen[0])
    if out is None:
        say_next("plan", model, "--agent", agent, *reward_words(sim), "--out", f"{model}-plan")
    else:
        say_next("render", model, "--agent", agent, "--out", f"{model}.png")


def _print_plan(one: Recommendation, units: Mapping[str, str]) -> None:
    state = one.columns.state[:SHOWN]
    named = [f"{name} ({units[name]})" if units.get(name) else name for name in state]
    rows = []
    for t in range(len(one.plan)):
        action = one.action_text(one.plan.actions[t])
        cells: list[object] = [str(one.start + t), action]
        for d in range(len(state)):
            low, high = float(one.plan.low[t, d]), float(one.plan.high[t, d])
            cells += [float(one.plan.obs[t, d]), f"{cell(low)} to {cell(high)}"]
        rows.append(cells)
    action_names = ", ".join(one.columns.action)
    head = ["step", action_names]
    for name in named:
        head += [f"next {name}", f"{one.level:.0%}"]
    more = len(one.columns.state) - len(state)
    beside = f" (and {more} more coordinates in --json and --out)" if more else ""
    print_table(f"Plan for {one.agent} from step {one.start} of its record{beside}", head, rows)
    print_table(
        f"Sum of rewards of {one.agent}",
        ["course", "steps", "predicted", "recorded"],
        [list(line) for line in one.summary()],
    )
    if one.unsure:
        say(
            "warning",
            f"{one.agent}: in {one.unsure} of {len(one.plan)} steps of the plan the members "
            "disagree by more than held-out data did: the data do not say what comes of it",
        )


def _write(found: list[Recommendation], sim: PerSim, model: str, out: Path) -> list[Path]:
    """The plans as ``plan.csv``, ``plan.html`` and a figure an agent."""
    from persim_gym.files import write_bytes, write_text
    from persim_gym.pages import render
    from persim_gym.plots.style import pngs
    from persim_gym.plots.time_series import recommendation_figure

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(found[0].rows()[0])
    for one in found:
        writer.writerows(one.rows()[1])
    written = [write_text(out / "plan.csv", stream.getvalue())]
    units, plans = units_of(sim), []
    for place, one in enumerate(found):
        figures = pngs(lambda theme, one=one: recommendation_figure(one, units, theme))
        name = "plan.png" if len(found) == 1 else f"plan-{place}.png"
        written.append(write_bytes(out / name, figures["light"]))
        head, rows = one.rows()
        plans.append(
            {
                "agent": one.agent,
                "start": one.start,
                "at_end": one.repeated,
                "unsure": one.unsure,
                "figure": figures,
                "summary": [[cell(value) for value in line] for line in one.summary()],
                "head": head[1:],
                "rows": [row[1:] for row in rows],
            }
        )
    page = render(
        "plan.html.jinja",
        simulator=model,
        task=sim.task.name,
        agents=[one.agent for one in found],
        reward=found[0].reward,
        level=f"{found[0].level:.0%}",
        steps=len(found[0].plan),
        plans=plans,
        command=shlex.join(["persim-gym", *sys.argv[1:]]),
    )
    return [*written, write_text(out / "plan.html", page)]


def check_no_own_options(columns: Columns, **given: Any) -> None:
    """Refuse options that are for own data alone, where there is a true environment.

    Raises:
        ValueError: If one was given.
    """
    options = [f"--{name}" for name, value in given.items() if value is not None]
    if wrong := [*options, *columns.given()]:
        raise ValueError(
            f"{wrong[0]} is for simulators of own data: here the agent acts in its true environment"
        )


def check_no_true_options(**given: Any) -> None:
    """Refuse options of acting in a true environment, where there is none.

    Raises:
        ValueError: If one was given.
    """
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"--{name} is for acting in a true environment, and own data have none: leave it "
                "out"
            )


def render(
    sim: PerSim,
    model: str,
    agent: str,
    out: Path,
    *,
    policy: str | None,
    data: Any,
    start: int | None,
    steps: int | None,
    seed: int,
) -> None:
    """Draw an agent's time series: recorded, and predicted from one recorded state on."""
    from persim_gym.envs.rendering import write_video
    from persim_gym.planning.recommending import foresee
    from persim_gym.plots.style import save
    from persim_gym.plots.time_series import draw_panels, panels_of, running_frames

    index = resolve.find_agent(agent, sim, None)
    actor = None if policy is None else resolve.make_policy(policy, sim.task, sim, index, seed)
    with on_interrupt("nothing was drawn"), progress_bar("render") as report:
        found = foresee(sim, index, actor, data=data, start=start, steps=steps)
        name = None if policy is None else f"policy {Path(policy).name}"
        figure = draw_panels(panels_of(found, units_of(sim), name), f"agent {found.agent}")
        if out.suffix.lower() in (".png", ".svg", ".pdf"):
            save(figure, out)
        else:
            first, last = -len(found.recorded_before) + 1, len(found.plan)
            frames = running_frames(figure, first, last)
            counted = resolve.counted(frames, last - first + 1, report)
            write_video(out, counted, sim.task.render_fps)
    typer.echo(out)
    say_plan(sim, model, agent_word(sim, index), drawn=True)
