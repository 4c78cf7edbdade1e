"""The last line of a command: the next one to try, ready to be copied."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from persim_gym.cli.group import say

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim


def say_next(*words: object) -> None:
    """Say which command to try next, on stderr: what a command prints stays what it is.

    Args:
        *words: Its words after ``persim-gym``; they are quoted where a shell needs it.
    """
    line = " ".join(shlex.quote(str(word)) for word in words)
    if line.isprintable():  # what a terminal would not show can not be copied
        say("next", f"persim-gym {line}")


def say_next_of(
    sim: PerSim, folder: object, *, fitted: bool = False, index: int | None = None
) -> None:
    """Say what to do with a simulator: judge it once it is fitted, then plan in it for an agent."""
    from persim_gym.envs.suites import SUITES

    agent = agent_word(sim, index or 0)
    if sim.task.name in SUITES and fitted:
        say_next("evaluate", folder)
    elif fitted:
        say_next("validate", folder, "--out", f"{folder}-trust")
    else:
        say_plan(sim, folder, agent)


def say_plan(sim: PerSim, folder: object, agent: str, drawn: bool = False) -> None:
    """Propose to plan for an agent; where there is nothing to choose, to see its course."""
    if getattr(sim.task.action_space, "n", 2) > 1:
        say_next("plan", folder, "--agent", agent, *reward_words(sim))
    elif drawn:
        say_next("explore", folder)
    else:
        say_next("render", folder, "--agent", agent, "--out", f"{folder}.png")


def reward_words(sim: PerSim) -> list[str]:
    """The option that a plan needs: a reward that was given, or an example where there is none."""
    from persim_gym.learned.outcomes.given_reward import columns_of, has_reward, quoted

    given = getattr(sim.task, "given", None)
    if isinstance(given, str):
        return ["--reward", given]
    if has_reward(sim.task):
        return []
    return ["--reward", f"next.{quoted(columns_of(sim.task).state[0])}"]


def agent_word(sim: PerSim | None, index: int) -> str:
    """An agent as ``--agent`` takes it: by its name, or its index where there is none."""
    if sim is None or not sim.agent_names:
        return str(index)
    name = sim.agent_names[index]
    try:
        return name if sim.names.parse(name) == index else f"name:{name}"
    except ValueError:  # a number that is also an index
        return f"name:{name}"
