"""The command that adds agents to a simulator: `adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from persim_gym.cli import options, resolve, tables
from persim_gym.cli.group import say
from persim_gym.cli.next_step import agent_word, say_next_of, say_plan
from persim_gym.cli.output import print_json, print_table
from persim_gym.envs.suites import SUITES
from persim_gym.progress import span

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.transitions import Transitions

#: Transitions of each agent on whose predictions an agent is tried, and levels of their intervals.
HELD, LEVEL = 50, 0.8


@tables.takes_table
def adapt(
    simulator: options.Simulator,
    dataset: options.DatasetOrTable,
    out: Annotated[Path, options.folder_to_write("the simulator with the new agents")],
    agents: options.NewAgents = None,
    transitions: Annotated[
        int | None, options.count("First transitions of each agent.", "all but some", least=0)
    ] = None,
    force: Annotated[bool, options.force("another simulator in FOLDER")] = False,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Add agents to a simulator, from a handful of transitions.

    The agents were not in training; nothing is fitted again. Up to 50 transitions of each agent, at
    most a fifth of them and the last ones, are held out to tell its error one step ahead; all
    others are used, or as many as --transitions says.

    A table is read by the columns of the table that the simulator was fitted on; options name those
    that are called otherwise.
    """
    from persim_gym.learned.record import with_labels_of

    sim = resolve.open_simulator(simulator)
    _check_not_another(simulator, out, force)
    data = tables.read(dataset, columns, sim)
    from persim_gym.learned.adaptation import check_task
    from persim_gym.learned.data import check_data

    _compare_steps(sim, data)
    data = with_labels_of(sim.task, data)
    check_task(sim.task.name, data)
    check_data(data, sim.task)
    chosen = _chosen(sim, data, agents)
    rows = [_added(sim, data, agent, transitions) for agent in chosen]
    folder = sim.save(out)
    if as_json:
        print_json({"simulator": str(folder), "agents": rows})
        return
    counted = f"{len(rows)} new agent{'s' * (len(rows) != 1)}"
    print_table(
        f"{counted} in {folder}, {sim.num_agents} in all",
        ["agent", "index", "used", "posterior sd", "held out", "one-step RMSE", "in interval"],
        [list(row.values()) for row in rows],
    )
    if sim.keeps_posteriors:
        note = (
            "posterior sd is in units of the population's: 1 says that nothing personal is known; "
            f"{LEVEL:.0%} of next observations should be in their interval"
        )
    else:
        note = "the file is of an older version, which has no posterior sd and no intervals"
    say("note", note)
    if sim.task.name in SUITES:
        say_next_of(sim, folder)
    else:
        agent = agent_word(sim, int(rows[0]["index"]))
        say_plan(sim, folder, agent)


def _compare_steps(sim: PerSim, data: Transitions) -> None:
    """Say it if the rows of a table are another time apart than those of the fit."""
    sources = sim.card.get("source", {}), data.source or {}
    fitted, here = (float(source.get("step", 0.0)) for source in sources)
    if fitted and here and not 0.99 < here / fitted < 1.01:
        new, former = (
            span(step) if source.get("dates") else f"{step:g}"
            for step, source in zip((here, fitted), sources[::-1], strict=True)
        )
        say(
            "warning",
            f"the rows are {new} apart, those of the fit were {former}: a step of this "
            "simulator is as long as in its fit, so resample the table",
        )


def _check_not_another(simulator: Path, out: Path, force: bool) -> None:
    """Check that no other simulator is lost: agents may be added to one where it is.

    Raises:
        ValueError: If the folder holds another one, and it is not to be replaced.
    """
    from persim_gym import store

    there = out / store.SIMULATOR
    own = simulator / store.SIMULATOR if simulator.is_dir() else simulator
    if there.exists() and not force and not there.samefile(own):
        raise ValueError(
            f"{out} holds another simulator: choose another folder, or replace it with --force"
        )


def _known(sim: PerSim, data: Transitions) -> dict[int, int]:
    """Agents of a data set that a simulator has already, and their indices in it."""
    if data.agent_names is not None and sim.agent_names is not None:
        index = {name: k for k, name in enumerate(sim.agent_names)}
        return {k: index[name] for k, name in enumerate(data.agent_names) if name in index}
    known = {
        entry["of"]: int(index)
        for index, entry in sim.card.get("adapted", {}).items()
        if data.dataset_id and entry.get("dataset") == data.dataset_id
    }
    fitted = sim.card.get("dataset", {})
    if data.dataset_id and fitted.get("id") == data.dataset_id:
        known |= {k: k for k in range(int(fitted.get("agents", 0)))}
    return known


def _chosen(sim: PerSim, data: Transitions, agents: str | None) -> list[int]:
    """The agents to add.

    Raises:
        ValueError: If one is not in the data, or in the simulator already, or none is new.
    """
    from persim_gym.learned.naming import AgentNames

    known = _known(sim, data)
    there = sorted({int(agent) for agent in data.agent})
    if agents is None:
        if not (new := [agent for agent in there if agent not in known]):
            raise ValueError(
                f"the simulator has all {len(there)} agents of {data.dataset_id or 'these data'} "
                "already: there is no agent to add"
            )
        return new
    names = AgentNames(data.agent_names or (), data.num_agents)
    chosen = resolve.choose_agents(agents, names)
    for agent in chosen:
        if agent not in there:
            raise ValueError(
                f"there are no transitions of agent {agent} in the data: they are of "
                f"{len(there)} agents, {there[0]} to {there[-1]}"
            )
        if agent in known:
            raise ValueError(
                f"agent {agent} of the data is agent {known[agent]} of the simulator already: "
                "leave it out, or choose others with --agent"
            )
    return chosen


def _added(sim: PerSim, data: Transitions, agent: int, count: int | None) -> dict[str, Any]:
    """Add one agent, and say how well it is known."""
    import numpy as np

    from persim_gym.learned.data import on_bounds
    from persim_gym.learned.history import slots

    own = data.select(data.agent == agent)
    held = min(HELD, len(own) // 5)
    used = len(own) - held if count is None else min(count, len(own) - held)
    order = np.arange(len(own))
    if used:
        index = sim.adapt(own.select(order[:used]))
    else:
        name = None if data.agent_names is None else data.agent_names[agent]
        index = sim.add_agent(name=name, source={"dataset": data.dataset_id, "of": agent})
    assert isinstance(index, int)
    known = sim.posterior(index) if sim.keeps_posteriors else None
    found: dict[str, Any] = {
        "agent": str(agent) if data.agent_names is None else data.agent_names[agent],
        "index": index,
        "used": sim.card["adapted"][str(index)]["transitions"],
        "posterior_sd": None if known is None else known.deviation,
        "held_out": 0,
        "rmse": None,
        "in_interval": None,
    }
    rest = own.select(order[len(own) - held :]) if held else None
    if rest is not None:
        states = slots(own, sim.lag, sim.ensemble.past)[len(own) - held :]
        predicted = sim.predict(index, states, rest.action)
        found["held_out"] = held
        found["rmse"] = float(np.sqrt(np.mean((predicted - rest.next_obs) ** 2)))
        free = ~on_bounds(rest, sim.task)
        if known is not None and free.any():
            low, high = known.interval(states, rest.action, LEVEL)
            inside = (low <= rest.next_obs) & (rest.next_obs <= high)
            found["in_interval"] = float(inside[free].mean())
    return found
