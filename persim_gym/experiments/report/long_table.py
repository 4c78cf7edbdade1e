"""Everything that was measured as one long table: a line for each quantity."""

from __future__ import annotations

import csv
import io
import json
import math

from persim_gym.experiments.results import Findings

CSV_HEAD = (
    "experiment", "task", "dataset", "method", "planner", "train_agents", "penalty", "fit",
    "max_episode_steps", "policy", "known", "agent", "measure", "mean", "sd", "iqm", "low", "high",
    "seeds", "episodes",
)  # fmt: skip


def results_csv(findings: Findings) -> str:
    """Everything that was measured, a line for each quantity; unknown values are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for group in findings.groups:
        cell = group.cell
        head = (
            cell.experiment, cell.task, cell.dataset, cell.method, cell.planner,
            cell.train_agents if cell.dataset else None, cell.penalty,
            json.dumps(dict(cell.fit)) if cell.fit else None, cell.max_episode_steps,
        )  # fmt: skip
        for name, own in group.summaries.items():
            values = [_plain(v) for v in (own.mean, own.sd, own.iqm, own.low, own.high)]
            episodes = cell.episodes if cell.experiment != "latent" else None
            names = (name.policy, name.known, name.agent, name.measure)
            writer.writerow([*head, *names, *values, own.seeds, episodes])
    return stream.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
