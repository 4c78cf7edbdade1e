"""A data card as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from persim_gym.checks import size_of
from persim_gym.cli.output import print_facts, print_table

if TYPE_CHECKING:
    from persim_gym.offline.cards import DataCard
    from persim_gym.offline.summaries import Summary


def _synthetic(recipe: Mapping[str, Any]) -> str:
    """That data are no recording, and of which simulator they are; nothing of a recording."""
    made = recipe.get("synthetic")
    if made is None:
        return ""
    return f"yes, of the simulator {made['simulator_sha256'][:16]}, fitted on {made['dataset']}"


def print_card(card: DataCard, path: object) -> None:
    """Print a data card: facts, ends, returns by covariate, coordinates, coverage."""
    s, recipe = card.summary, card.recipe
    returns, lengths = card.episodes.returns, card.episodes.lengths
    checked = {True: "as recorded", False: "NOT AS RECORDED: record it again", None: ""}
    facts: list[tuple[str, object]] = [
        ("task", s.task),
        ("behaviour", s.behaviour),
        ("synthetic", _synthetic(recipe)),
        ("agents", s.agents),
        ("episodes", s.episodes),
        ("transitions", s.transitions),
        ("mean return", s.mean_return),
        ("returns", f"{returns.min():,.6g} to {returns.max():,.6g}"),
        ("steps", f"{lengths.min():,} to {lengths.max():,} an episode"),
        ("ends", ", ".join(f"{end} {count:,}" for end, count in card.end_counts().items())),
        ("seed", recipe.get("seed")),
        ("population", _population(recipe.get("population"))),
        ("size", f"{size_of(s.size)} ({card.data_format})"),
        ("folder", path),
        ("author", ", ".join(card.author)),
        ("requires", ", ".join(card.requirements)),
        ("sha256", card.sha256),
        ("checked", checked[card.intact]),
        ("made by", card.command),
    ]
    print_facts(s.id, [fact for fact in facts if fact[1] not in (None, "")])
    typer.echo("")
    for name, correlation in card.correlations().items():
        print_table(
            f"Return by {name} (correlation {correlation:.2f})",
            [name, "episodes", "mean", "lowest", "highest", "steps"],
            [
                [
                    f"{group.low:.4g} to {group.high:.4g}", group.episodes, group.mean_return,
                    group.min_return, group.max_return, group.mean_length,
                ]
                for group in card.by_covariate(name)
            ],
        )  # fmt: skip
    _print_test_agents(card)
    print_table(
        "States",
        ["coordinate", "lowest", "5%", "median", "95%", "highest", "starts from", "to"],
        [[c.name, *c.quantiles, c.start[0], c.start[2]] for c in card.coordinates],
    )
    print_table(
        "Coverage",
        ["coordinates", "cells visited", "states outside"],
        [
            [
                " / ".join(card.coordinates[axis].name for axis in plane.axes),
                f"{100 * plane.visited:.1f}%",
                f"{100 * plane.outside:.2f}%",
            ]
            for plane in card.planes
        ],
    )


def _print_test_agents(card: DataCard) -> None:
    """Print the episodes of agents that are kept for tests, if there are any."""
    own = card.episodes
    tests = [
        row
        for row, agent in enumerate(own.agents)
        if isinstance(agent, int) and agent < card.test_agents
    ]
    if tests:
        print_table(
            "Test agents",
            ["agent", *card.covariates, "return", "steps", "end"],
            [
                [
                    own.agents[row], *own.covariates[row].tolist(), float(own.returns[row]),
                    int(own.lengths[row]), own.ends[row],
                ]
                for row in tests[:10]
            ],
        )  # fmt: skip


def _population(source: object) -> str | None:
    """A population in words; one of covariates is too long for a line."""
    if not isinstance(source, dict):
        return None if source is None else str(source)
    if "size" not in source:
        return "given covariates"
    ranges = source.get("ranges") or {}
    own = "".join(f", {name} {low:g} to {high:g}" for name, (low, high) in ranges.items())
    return f"{source['size']:,} agents, seed {source.get('seed', 0)}{own}"


def print_summary(summary: Summary, path: object) -> None:
    """Print a data set in short."""
    facts = [
        ("task", summary.task),
        ("behaviour", summary.behaviour),
        ("agents", summary.agents),
        ("episodes", summary.episodes),
        ("transitions", summary.transitions),
        ("mean return", summary.mean_return),
        ("size", size_of(summary.size)),
        ("folder", path),
    ]
    print_facts(summary.id, facts)
