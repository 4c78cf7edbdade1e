"""The command that draws: `render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persim_gym import checks
from persim_gym.cli import complete, options, own_data, resolve, tables
from persim_gym.cli.group import on_interrupt
from persim_gym.cli.next_step import agent_word, say_next
from persim_gym.cli.output import progress_bar

VIDEOS = (".mp4", ".gif")
DRAWN = (*VIDEOS, ".png", ".svg", ".pdf")


@tables.takes_table
def render(
    model: options.Model,
    agent: options.Agent,
    out: Annotated[
        Path,
        options.file_to_write(
            "a video, .mp4 or .gif, or of own data also a .png, .svg or .pdf", DRAWN
        ),
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "--behaviour",
            metavar="NAME",
            help="Policy: random, mpc, or the folder of one that train or baseline has made.",
            autocompletion=complete.policies,
            show_default="random; the recorded actions of own data",
        ),
    ] = None,
    data: options.Data = None,
    start: options.Start = None,
    steps: options.MaxSteps = None,
    seed: options.Seed = 0,
    *,
    columns: tables.Columns,
) -> None:
    """Make a video: truth and simulator side by side.

    Given a task instead of a simulator, it shows the truth alone.

    Both sides begin in the same state and are given the same actions; the simulator goes by its
    own predictions from then on. Of own data, which have no true environment, it draws time series
    of every coordinate and action: recorded, and predicted with its interval from one recorded
    state on.
    """
    from persim_gym.envs.rendering import write_video
    from persim_gym.plots import video

    resolve.draw_without_display()
    suite, sim = resolve.open_model(model)
    if suite is None:
        assert sim is not None
        own_data.render(
            sim, model, agent, out, policy=policy, data=tables.record(sim, data, columns),
            start=start, steps=steps, seed=seed,
        )  # fmt: skip
        return
    own_data.check_no_own_options(columns, data=data, start=start)
    checks.output_file("--out", out, VIDEOS)
    index = resolve.find_agent(agent, sim, suite)
    chosen = "random" if policy is None else policy
    actor = resolve.make_policy(chosen, suite.task(), sim, index, seed)
    if sim is None:
        frames = video.episode_frames(suite.name, index, actor, steps=steps, seed=seed)
    else:
        population = resolve.population_of(sim)
        frames = video.comparison_frames(
            sim, index, actor, population=population, steps=steps, seed=seed
        )
    task = suite.task()
    total = (steps or task.max_episode_steps) + 1
    with on_interrupt("no video was written"), progress_bar("render") as report:
        write_video(out, resolve.counted(frames, total, report), task.render_fps)
    typer.echo(out)
    say_next("plan", model, "--agent", agent_word(sim, index))
