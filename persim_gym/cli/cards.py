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
        ("population", recipe.get("population")),
        ("size", f"{size_of(s.size)} ({card.data_format})"),
        ("folder", path),
        ("author", ", ".join(card.author)),
        ("requires", ", ".join(card.requirements)),
        ("sha256", f"{card.sha256} {checked[card.intact]}".rstrip()),
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
    tests = [
        row
        for row, agent in enumerate(card.episodes.agents)
        if isinstance(agent, int) and agent < card.test_agents
    ]
    if tests:
        print_table(
            "Test agents",
            ["agent", *card.covariates, "return", "steps", "end"],
            [
                [
                    card.episodes.agents[row], *card.episodes.covariates[row].tolist(),
                    float(returns[row]), int(lengths[row]), card.episodes.ends[row],
                ]
                for row in tests[:10]
            ],
        )  # fmt: skip
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
