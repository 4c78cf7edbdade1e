"""The command that shows a simulator in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persim_gym.cli import options, resolve, tables
from persim_gym.cli.group import say
from persim_gym.cli.messages import as_typed
from persim_gym.envs.suites import SUITES

if TYPE_CHECKING:
    from persim_gym.explorer.scene import Scene
    from persim_gym.explorer.truth import Truth
    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.transitions import Transitions


@tables.takes_table
def explore(
    simulator: options.Simulator,
    data: options.Data = None,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="Where to serve; this machine alone by default.")
    ] = "127.0.0.1",
    port: Annotated[int, options.count("Port; 0 for a free one.", max=65535, least=0)] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open no browser.")
    ] = False,
    *,
    columns: tables.Columns,
) -> None:
    """Ask a simulator what would happen if, on a page in the browser.

    Choose an agent and a start, change the actions, and see the predicted course with its interval
    beside what was recorded and, where there is one, the truth. Ctrl-C ends it.
    """
    from persim_gym.explorer import server

    server.check_installed()

    def started(address: str) -> None:
        typer.echo(f"{address}  (Ctrl-C ends it)")
        if not no_browser:
            import webbrowser

            webbrowser.open(address)

    with server.bound_socket(host, port) as listening:
        sim = resolve.open_simulator(simulator)
        server.serve(_scene(sim, _data(sim, data, columns), simulator), listening, started)


def _data(sim: PerSim, name: str | None, columns: tables.Columns) -> Transitions | None:
    """The record: what ``--data`` names, or the data set of the fit where it can be found."""
    found = tables.record(sim, name, columns)
    return found if columns.given() else _record_of(sim, name)


def _scene(sim: PerSim, data: Transitions | None, path: Path) -> Scene:
    from persim_gym.explorer.record import Record
    from persim_gym.explorer.scene import Scene

    notes = []
    record = Record(sim, data)
    if data is None:
        name = sim.card.get("dataset", {}).get("id") or "that it was fitted on"
        notes.append(
            f"The data set {name} is not on this machine: what was recorded is not shown, and "
            "courses start in recorded first observations. --data says where it is."
        )
    elif not record.same:
        notes.append("The record shown here is not the one that the simulator was fitted on.")
    truth, why = _truth_of(sim)
    notes += [why] if why else []
    for note in notes:
        say("note", note)
    return Scene(sim, record, truth, notes, str(path))


def _record_of(sim: PerSim, data: str | None = None) -> Transitions | None:
    """The record that a simulator was fitted on, if it is on this machine and can be read."""
    from persim_gym.explorer.record import Record
    from persim_gym.learned.record import read_record

    try:
        found = read_record(sim, data)
        Record(sim, found)
    except FileNotFoundError:
        if data is not None:
            raise
        return None
    except ValueError as error:
        if data is not None:
            raise
        say("warning", as_typed(f"the record cannot be shown: {error}"))
        return None
    return found


def _truth_of(sim: PerSim) -> tuple[Truth | None, str]:
    """True physics, or ``None`` and where there should be some, why there are none."""
    from persim_gym.explorer.truth import Truth

    if sim.task.name not in SUITES:
        return None, ""
    resolve.draw_without_display()
    suite = SUITES[sim.task.name]
    try:
        return Truth(suite, suite.population(resolve.population_of(sim))), ""
    except ValueError as error:
        return None, f"The truth is not shown: {error}."
