"""Commands that control: plan, train."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym import checks
from persim_gym.cli import complete, options, own_data, resolve, tables
from persim_gym.cli.group import on_interrupt, say
from persim_gym.cli.next_step import agent_word, say_next
from persim_gym.cli.output import (
    print_facts,
    print_json,
    print_line,
    print_table,
    progress_bar,
    statistics,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from stable_baselines3.common.logger import Logger

    from persim_gym.core import Dynamics, Task
    from persim_gym.evaluation.returns import Outcomes
    from persim_gym.learned.simulator import PerSim
    from persim_gym.planning import PlannerChoice


@tables.takes_table
def plan(
    model: options.Model,
    agent: options.SomeAgents,
    reward: options.Reward = None,
    episodes: Annotated[int | None, options.count("Episodes of each agent.", "5")] = None,
    planner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Planner: default (the task's), paper, shooting, categorical-cem (discrete "
            "actions), cem, icem, mppi (continuous ones).",
            autocompletion=complete.words(*complete.PLANNERS),
        ),
    ] = "default",
    candidates: Annotated[
        int | None, options.count("Action sequences in a round.", "the planner's")
    ] = None,
    horizon: Annotated[
        int | None, options.count("Steps that are predicted ahead.", "the planner's")
    ] = None,
    rounds: Annotated[int | None, options.count("Rounds in a decision.", "the planner's")] = None,
    penalty: Annotated[
        float | None,
        options.number(
            "Reward to subtract per unit of the members' disagreement, in every step.",
            "the planner's",
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        options.count(
            "Steps of an episode at most; on own data, of the plan.",
            "the task's; the planner's horizon",
            "--max-steps",
            "--steps",
        ),
    ] = None,
    data: options.Data = None,
    start: options.Start = None,
    out: Annotated[
        Path | None,
        options.folder_to_write("CSV, figure and page of own data", show_default=False),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Plan in a simulator and act in the agent's true environment.

    Given a task instead of a simulator, it plans in the true dynamics. All episodes are planned
    side by side: the time of a decision is the time of all, divided by their number.

    A simulator of own data has no true environment: there MPC acts inside the simulator, from the
    state in which the agent's record ends (or from --start), and the plan is shown with its
    predicted course and beside what was done.
    """
    import torch

    from persim_gym.evaluation.returns import episode_outcomes, episode_returns
    from persim_gym.learned.outcomes.given_reward import read_reward, rewarded
    from persim_gym.planning.planner_choice import choose_planner, planner_for_data

    suite, sim = resolve.open_model(model)
    if sim is not None and suite is None:
        own_data.check_no_true_options(episodes=episodes)
        sim = own_data.with_reward(sim, reward)
    elif suite is not None:
        own_data.check_no_own_options(columns, data=data, start=start, out=out)
        agents = resolve.find_agents(agent, sim, suite)
    task: Task = sim.task if sim is not None else suite.task()  # type: ignore[union-attr]
    sizes = {"candidates": candidates, "horizon": horizon, "rounds": rounds}
    given = {name: size for name, size in sizes.items() if size is not None}
    if planner == "default":
        choice = planner_for_data(task, **given)
    else:
        choice = choose_planner(task, planner, **given)
    if threads is not None:
        torch.set_num_threads(threads)
    if sim is not None and device != "cpu":
        sim = sim.to(device)
    if suite is None:
        assert sim is not None
        own_data.plan(
            sim, model, agent, choice, data=tables.record(sim, data, columns), start=start,
            steps=max_steps, penalty=penalty, seed=seed, out=out, as_json=as_json,
        )  # fmt: skip
        return
    task = rewarded(task, read_reward(reward))
    mpc = _timed_mpc(suite.name if sim is None else sim, task, choice, penalty, seed)
    true = suite.dynamics(suite.population(None if sim is None else resolve.population_of(sim)))
    with progress_bar("plan") as report:
        parts = (task, true, agents, mpc, episodes or 5, seed)
        outcomes = episode_outcomes(*parts, max_episode_steps=max_steps, on_progress=report)
    chance = episode_returns(task, true, agents, "random", 20, seed, max_episode_steps=max_steps)
    if as_json:
        print_json({"model": model, **_planned(mpc, seed, agents, outcomes, chance)})
        return
    words = [agent_word(sim, agent) for agent in agents]
    planned_in = "the true dynamics" if sim is None else model
    print_table(
        f"Returns in the true {suite.name}, planned in {planned_in}",
        ["agent", "episodes", "mean", "sd", "least", "most", "random policy"],
        [
            [word, *statistics(own), float(random.mean())]
            for word, own, random in zip(words, outcomes.returns, chance, strict=True)
        ],
    )
    _say_stopped(dict(zip(words, outcomes.stopped, strict=True)), "agent ")
    typer.echo(f"{mpc.milliseconds:.3g} ms per decision ({_described(mpc.planner)})")
    if sim is None:
        shown = ("--policy", "mpc", "--out", f"{model}-mpc.mp4")
        say_next("render", model, "--agent", words[0], *shown)
    else:
        say_next("train", model, "--agent", words[0], "--out", f"{model}-policy")


def _planned(
    mpc: Any, seed: int, agents: Sequence[int], outcomes: Outcomes, chance: NDArray[Any]
) -> dict[str, Any]:
    """What planning came to, as plain types."""
    found = zip(agents, outcomes.returns, outcomes.stopped, chance, strict=True)
    return {
        "planner": type(mpc.planner).__name__,
        **dataclasses.asdict(mpc.planner),
        "propagation": mpc.objective.propagation,
        "penalty": mpc.objective.penalty,
        "seed": seed,
        "ms_per_decision": mpc.milliseconds,
        "agents": [
            {
                "agent": agent,
                "returns": own.tolist(),
                "stopped": int(stopped.sum()),
                "random": float(random.mean()),
            }
            for agent, own, stopped, random in found
        ],
    }


def _described(planner: Any) -> str:
    """A planner's name and sizes: ``CEM, 6 rounds of 200 candidates of 30 steps``."""
    rounds = f"{planner.rounds} rounds of " if hasattr(planner, "rounds") else ""
    sizes = f"{planner.candidates} candidates of {planner.horizon} steps"
    return f"{type(planner).__name__}, {rounds}{sizes}"


def _timed_mpc(
    model: PerSim | str, task: Task, choice: PlannerChoice, penalty: float | None, seed: int
) -> Any:
    from persim_gym.planning import MPC

    class TimedMPC(MPC):
        """MPC that counts its decisions and their time."""

        seconds, decisions = 0.0, 0

        @property
        def milliseconds(self) -> float:
            """Of a decision."""
            return 1000 * self.seconds / self.decisions

        def plan(self, agents: Any, obs: Any, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = super().plan(agents, obs, *args, **kwargs)
            self.seconds += time.perf_counter() - began
            self.decisions += len(obs)
            return result

    return TimedMPC(model, task=task, planner=choice, penalty=penalty, seed=seed)


def _say_stopped(episodes: dict[str, NDArray[Any]], prefix: str = "") -> None:
    """One line of the episodes that were cut off before their time, if there are any."""
    said = [
        f"{own.sum()} of {len(own)} {prefix}{name}" for name, own in episodes.items() if own.any()
    ]
    if said:
        print_line(
            "Episodes cut off by broken physics or a guard, whose returns count up to there: "
            + ", ".join(said)
        )


def _logger(kind: str, folder: Path) -> Logger:
    """Stable-Baselines3's logger of a kind, in a folder.

    Raises:
        ValueError: If there is no such kind.
        ImportError: If TensorBoard is absent.
    """
    from stable_baselines3.common.logger import configure

    from persim_gym.metrics import LOGS, open_metrics

    checks.one_of("log", kind, LOGS)
    if kind == "tensorboard":  # says what to install where it is absent
        open_metrics(kind, folder).close()
    return configure(str(folder), [kind])


def train(
    simulator: options.Simulator,
    agent: options.Agent,
    out: Annotated[Path, options.folder_to_write("the policy")],
    reward: options.Reward = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Algorithm: dqn, ppo, sac or td3.",
            autocompletion=complete.words("dqn", "ppo", "sac", "td3"),
            show_default="dqn for discrete actions, else sac",
        ),
    ] = None,
    steps: Annotated[int, options.count("Steps of training.")] = 40_000,
    episodes: options.Episodes = 20,
    seed: options.Seed = 0,
    log: options.Log = None,
    force: Annotated[bool, options.force("a policy in FOLDER")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a policy inside a simulator and judge it outside.

    A Stable-Baselines3 algorithm learns in the simulator alone; the true environment is used for
    the final judgement only. The policy can then be recorded and rendered. Own data have no true
    environment: there the policy is judged in the simulator.
    """
    from persim_gym import training

    suite, sim = resolve.open_model(str(simulator))
    if sim is None:
        raise ValueError(f"{simulator} is a task: training needs the folder of a simulator")
    index = resolve.find_agent(agent, sim, suite)
    sim = own_data.with_reward(sim, reward)
    used = training.check_algorithm(sim.task, algorithm)
    config = training.default_config(sim.task.name, used)
    if suite is None:  # chosen by nothing but the simulator, the best would be its largest error
        config = dataclasses.replace(config, evaluations=0)
    checks.integer("seed", seed, most=checks.LARGEST_SEED)
    if (out / training.POLICY).exists() and not force:
        raise ValueError(f"{out} holds a policy: choose another folder, or replace it with --force")
    true = None if suite is None else suite.dynamics(suite.population(resolve.population_of(sim)))
    logger = None if log is None else _logger(log, out / options.LOGS)
    with (
        on_interrupt("nothing was kept, the same command begins anew"),
        progress_bar("train") as report,
    ):
        trained = training.train_in_simulator(
            sim, index, steps, seed, algorithm, on_progress=report, config=config, logger=logger
        )
    if logger is not None:
        logger.close()
    card = {
        "task": sim.task.name,
        "agent": index,
        "agent_name": sim.agent_names[index] if sim.agent_names else None,
        "simulator": str(simulator),
        "reward": reward,
        "dataset": sim.card.get("dataset"),
        "steps": steps,
        "seed": seed,
    }
    training.save_policy(trained, out, card)
    policy = training.load_policy(out)
    outcomes = _judged(sim, index, policy, true, episodes, seed)
    if as_json:
        said = {"folder": str(out), "algorithm": policy.name, **_outcomes_as_json(outcomes)}
        print_json({**card, **said})
        return
    print_table(
        f"Returns of agent {agent_word(sim, index)} of {sim.task.name}, {policy.name} after "
        f"{steps:,} steps",
        ["", "episodes", "mean", "sd", "least", "most"],
        [[name, *statistics(own.returns[0])] for name, own in outcomes.items()],
    )
    _say_stopped({name: own.stopped[0] for name, own in outcomes.items()})
    print_facts("Policy", [("folder", out)])
    if suite is None:
        say(
            "note",
            "there is no true environment of own data: the simulator judges its own policy, the "
            "last one of the training",
        )
    word, video = agent_word(sim, index), "png" if suite is None else "mp4"
    policy_of = ("--policy", out, "--out", f"{out}.{video}")
    say_next("render", simulator, "--agent", word, *policy_of)


def _judged(
    sim: PerSim, agent: int, policy: Any, true: Dynamics | None, episodes: int, seed: int
) -> dict[str, Outcomes]:
    """Episodes of a policy beside those of random actions, by where they were played."""
    from persim_gym import training
    from persim_gym.evaluation.returns import episode_outcomes
    from persim_gym.learned.environments.guard import GuardedSimulator

    guard = training.default_config(sim.task.name, policy.name).guard
    inside = GuardedSimulator(sim, guard=guard)
    worlds: dict[str, tuple[Dynamics, Any]] = {"in the simulator": (inside, policy)}
    if true is None:
        worlds["in the simulator, random actions"] = (inside, "random")
    else:
        worlds["true environment"] = (true, policy)
        worlds["true environment, random actions"] = (true, "random")
    return {
        name: episode_outcomes(sim.task, world, [agent], actor, episodes, seed)
        for name, (world, actor) in worlds.items()
    }


def _outcomes_as_json(outcomes: Mapping[str, Outcomes]) -> dict[str, Any]:
    keys = [name.replace(",", "").replace(" ", "_") for name in outcomes]
    rows = list(zip(keys, outcomes.values(), strict=True))
    return {
        "returns": {key: own.returns[0].tolist() for key, own in rows},
        "stopped": {key: int(own.stopped[0].sum()) for key, own in rows},
    }
