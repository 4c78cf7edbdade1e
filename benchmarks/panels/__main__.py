"""PerSim beside simple references on recorded panels: real agents, few and noisy observations.

python -m benchmarks.panels
python -m benchmarks.panels --only chicks rats --out runs/panels
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.worlds.libraries import Boosting
from benchmarks.worlds.recording import Tests
from benchmarks.worlds.references import Embedding, Reference, Windows
from benchmarks.worlds.world import Floats
from persim_gym.files import write_text
from persim_gym.learned import PerSim
from persim_gym.offline import read_table
from persim_gym.writing import write_json

from .data import HORIZONS, PACKAGE, PANELS, Panel, Split, split
from .references import REFERENCES

PERSIM = "persim"
METHODS: dict[str, tuple[Callable[[Windows], Reference], int]] = {
    **REFERENCES,
    "mlp": (Embedding, 1),
    "boosting": (Boosting, 1),
}
#: An error, in units of each coordinate's standard deviation, that stands for a lost prediction.
LOST = 1e3
LEVEL = 0.95


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.panels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=PANELS, metavar="PANEL", default=list(PANELS))
    parser.add_argument("--out", type=Path, default=Path("runs/panels"), help="where rows are")
    parser.add_argument("--report", action="store_true", help="only print the rows that are there")
    options = parser.parse_args(arguments)
    if not options.report and not find_spec(PACKAGE):
        parser.error(f"the panels are in {PACKAGE}: pip install persim-gym[benchmarks]")
    torch.set_num_threads(1)
    rows = {}
    for name in options.only:
        file = options.out / f"{name}.json"
        if not file.exists() and not options.report:
            print(f"{name} ...", file=sys.stderr)
            write_json(file, row_of(PANELS[name]))
        if file.exists():
            rows[name] = json.loads(file.read_text())
    if not rows:
        parser.error(f"no row of these panels is in {options.out}: run without --report first")
    print(text_of(rows))
    write_text(options.out / "panels.csv", csv_of(rows))


def row_of(panel: Panel) -> dict[str, Any]:
    """Fit all methods to a panel, and predict what comes after.

    Returns:
        Plain types: numbers of agents, transitions and predictions, errors of each method at each
        horizon, and of PerSim what was chosen, seconds, and how often its intervals hold.
    """
    parts = split(panel)
    data = read_table(parts.fitted, **panel.columns)
    deviation = np.concatenate([data.obs, data.next_obs]).std(axis=0)
    tests = _tests(panel, parts, data.agent_names or ())
    found: dict[str, Any] = {
        "agents": data.num_agents,
        "transitions": len(data),
        "predictions": len(tests.agents),
        "errors": {},
    }
    for name, (kind, lag) in METHODS.items():
        predicted = kind(Windows(data, lag, ())).rollout(tests)
        found["errors"][name] = errors(predicted, tests, deviation)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sim = PerSim.fit(parts.fitted, columns=panel.columns, progress=False)
    found["seconds"] = time.process_time() - began
    chosen = sim.card["metrics"].get("weights") or {sim.card["fitted_by"]: 1.0}
    found["chosen"] = {name: round(weight, 2) for name, weight in chosen.items()}
    past = tests.past_actions[:, tests.past_actions.shape[1] + 1 - sim.lag :]
    states = sim.states(tests.past[:, -sim.lag :].astype(np.float32), past)
    members = np.asarray(sim.rollout(tests.agents, states, tests.actions), dtype=np.float64)
    found["errors"][PERSIM] = errors(members.mean(axis=0), tests, deviation)
    low, high = sim.rollout_interval(tests.agents, states, tests.actions, level=LEVEL)
    found["coverage"] = _coverage(np.asarray(low), np.asarray(high), tests)
    return found


def _tests(panel: Panel, parts: Split, names: Sequence[Any]) -> Tests:
    """Predictions of agents that were fitted."""
    number = {str(name): index for index, name in enumerate(names)}
    ids = parts.table[panel.agent].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v))
    agents = np.array([number.get(name, -1) for name in ids.iloc[parts.begins]])
    obs = parts.table[list(panel.state)].to_numpy(np.float64)
    actions = parts.table[list(panel.action)].to_numpy(np.float64)
    known = agents >= 0
    steps = parts.begins[:, None] + np.arange(max(HORIZONS))
    return Tests(
        agents=agents[known],
        past=obs[parts.past][known],
        past_actions=actions[parts.past[:, :-1]][known],
        actions=actions[np.minimum(steps, len(actions) - 1)][known],
        truth=obs[parts.ahead][known],
        valid=parts.valid[known],
    )


def errors(
    predicted: Floats, tests: Tests, deviation: NDArray[np.floating[Any]]
) -> dict[str, float]:
    """Root mean square error at each horizon that is reached, in standard deviations."""
    off = np.clip(np.nan_to_num((predicted - tests.truth) / deviation, nan=LOST), -LOST, LOST)
    found = {}
    for horizon in HORIZONS:
        valid = tests.valid[:, horizon - 1]
        if valid.any():
            found[str(horizon)] = float(np.sqrt(np.square(off[valid, horizon - 1]).mean()))
    return found


def _coverage(low: Floats, high: Floats, tests: Tests) -> dict[str, float]:
    inside = (tests.truth >= low) & (tests.truth <= high)
    return {
        str(h): float(inside[tests.valid[:, h - 1], h - 1].mean())
        for h in HORIZONS
        if tests.valid[:, h - 1].any()
    }


def text_of(rows: dict[str, dict[str, Any]]) -> str:
    """Errors over that of persistence, by panel and horizon, and their geometric means."""
    names = [PERSIM, *(name for name in METHODS if name != "persistence")]
    head = ["panel", "agents", "transitions", "steps ahead", *names, "95 % hold", "seconds"]
    lines = [head, ["---"] * len(head)]
    logs: dict[str, dict[str, list[float]]] = {str(h): {n: [] for n in names} for h in HORIZONS}
    for panel, row in rows.items():
        for horizon, nothing in row["errors"]["persistence"].items():
            ratios = [row["errors"][name][horizon] / nothing for name in names]
            for name, ratio in zip(names, ratios, strict=True):
                logs[horizon][name].append(float(np.log(ratio)))
            counts = [str(row["agents"]), str(row["transitions"]), horizon]
            held = f"{100 * row['coverage'][horizon]:.0f} %"
            line = [panel, *counts, *(f"{r:.2f}" for r in ratios), held, f"{row['seconds']:.0f}"]
            lines.append(line)
    for horizon, by_name in logs.items():
        if by_name[PERSIM]:
            means = [f"{np.exp(np.mean(by_name[name])):.2f}" for name in names]
            lines.append(["geometric mean", "", "", horizon, *means, "", ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_of(rows: dict[str, dict[str, Any]]) -> str:
    """Errors of all methods, in standard deviations."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["panel", "method", "chosen", *(f"{h} steps" for h in HORIZONS)])
    for panel, row in rows.items():
        for name, found in row["errors"].items():
            chosen = " + ".join(row["chosen"]) if name == PERSIM else ""
            values = [f"{found[str(h)]:.4g}" if str(h) in found else "" for h in HORIZONS]
            writer.writerow([panel, name, chosen, *values])
    return text.getvalue()


if __name__ == "__main__":
    main()
