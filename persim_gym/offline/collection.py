"""The twelve data sets: three tasks under four behaviours, one trajectory of each of 500 agents.

Paper: Section 5.1 has the same tasks and the same four kinds of data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from persim_gym import checks
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.envs.suites import SUITES, find_suite
from persim_gym.offline import datasets, provenance
from persim_gym.offline.recorder import Recording, prepare
from persim_gym.policies.paper_behaviours import BEHAVIOURS
from persim_gym.progress import OnProgress, reporter


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one data set.

    Attributes:
        dataset_id: Its id.
        was_there: It was there already, and was left alone.
        seconds: What recording it took.
    """

    dataset_id: str
    was_there: bool
    seconds: float


def record_all(
    tasks: Sequence[str] | None = None,
    behaviours: Sequence[str] | None = None,
    agents: int | Sequence[int] = DEFAULT_SIZE,
    episodes: int = 1,
    seed: int = 0,
    *,
    population: object = None,
    max_episode_steps: int | None = None,
    namespace: str = datasets.NAMESPACE,
    overwrite: bool = False,
    data_format: str = "hdf5",
    on_progress: OnProgress | None = None,
    on_recorded: Callable[[Recorded], None] | None = None,
    progress: bool | None = None,
) -> list[Recorded]:
    """Record several data sets, by default all twelve, those that are there already left out.

    Everything is checked before the first is recorded. A data set appears when it is complete, so
    that the same call after a kill goes on with those that are missing.

    Args:
        tasks: Tasks; by default all three.
        behaviours: Behaviours; by default all four.
        agents: As in :func:`~persim_gym.offline.record`, and so the further ones.
        episodes: Episodes of each agent.
        seed: Seed of start states and of the behaviours.
        population: Of each task; ranges of covariates can only be given for one task.
        max_episode_steps: Time limit; by default each task's.
        namespace: What the ids begin with: ``"<namespace>/<task>/<behaviour>-v0"``.
        overwrite: Record those that are there anew.
        data_format: Minari's name of the format.
        on_progress: Called with how much of the expected work is done, and of how much.
        on_recorded: Called with each data set when it is there.
        progress: Show a progress bar; by default where there is a terminal.

    Returns:
        What became of each, in the order of tasks and behaviours.

    Raises:
        TypeError: As in :func:`~persim_gym.offline.record`.
        ValueError: As there, or a data set of one of the ids was made with other options.
    """
    wanted = prepare_all(
        tasks, behaviours, agents, episodes, seed, population=population,
        max_episode_steps=max_episode_steps, namespace=namespace, data_format=data_format,
    )  # fmt: skip
    there = [not overwrite and is_there(recording) for recording in wanted]
    total = sum(_cost(r) for r, known in zip(wanted, there, strict=True) if not known)
    results: list[Recorded] = []
    done = 0
    with reporter("record", progress, on_progress) as report:
        for i, (recording, known) in enumerate(zip(wanted, there, strict=True)):
            begun = time.monotonic()
            if not known:
                cost = _cost(recording)
                title = f"{i + 1}/{len(wanted)} {recording.dataset_id}"

                def report_step(
                    steps: int, of: int, before: int = done, cost: int = cost, title: str = title
                ) -> None:
                    report(before + cost * steps // of, total, title)

                recording.run(overwrite, report_step, progress=False)
                done += cost
            results.append(Recorded(recording.dataset_id, known, time.monotonic() - begun))
            if on_recorded is not None:
                on_recorded(results[-1])
    return results


def prepare_all(
    tasks: Sequence[str] | None = None,
    behaviours: Sequence[str] | None = None,
    agents: int | Sequence[int] = DEFAULT_SIZE,
    episodes: int = 1,
    seed: int = 0,
    *,
    namespace: str = datasets.NAMESPACE,
    **options: Any,
) -> list[Recording]:
    """Check all that several recordings need; arguments and errors as of :func:`record_all`."""
    checks.text("namespace", namespace)
    asked = [*SUITES] if tasks is None else checks.a_sequence("tasks", tasks)
    names = [find_suite(task).name for task in asked]
    kinds = [*BEHAVIOURS] if behaviours is None else checks.a_sequence("behaviours", behaviours)
    if not names or not kinds:
        raise ValueError("there is nothing to record: name at least one task and one behaviour")
    return [
        prepare(
            task, kind, agents, episodes, seed,
            dataset_id=dataset_id(task, kind, namespace), **options,
        )
        for task in dict.fromkeys(names)
        for kind in dict.fromkeys(kinds)
    ]  # fmt: skip


def dataset_id(task: str, behaviour: str, namespace: str = datasets.NAMESPACE) -> str:
    """The id of a task's data set under a behaviour: ``"persim/cartpole/pure-eps-20-v0"``."""
    return f"{namespace}/{task}/{behaviour}-v0"


def is_there(
    recording: Recording,
    remedy: str = "replace it with overwrite=True (--force), or record into another namespace",
) -> bool:
    """Whether the very data set that a recording would make is there.

    Args:
        recording: The recording.
        remedy: What to do about one of that id with other options.

    Raises:
        ValueError: If there is one of that id with other options.
    """
    there = datasets.find(recording.dataset_id)
    if there is None:
        return False
    card = datasets.card_of(there)
    if different := "; ".join(provenance.differences(recording.recipe, card)):
        raise ValueError(
            f"data set {recording.dataset_id!r} exists already, with {different}: {remedy}"
        )
    return True


def _cost(recording: Recording) -> int:
    physics, policy = recording.suite.microseconds
    each = physics + (0.0 if recording.recipe["behaviour"] == "random" else policy)
    # Data sets that are tiny take a moment, too.
    return round(each * recording.steps) + 50_000
