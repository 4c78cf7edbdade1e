"""Commands that control: plan, train."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym import checks
from persim_gym.cli import models, options
from persim_gym.cli.group import on_interrupt
from persim_gym.cli.output import print_facts, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from stable_baselines3.common.logger import Logger

    from persim_gym.learned.simulator import PerSim
    from persim_gym.planning import PlannerChoice

TASK_DEFAULT = "the task's"


def plan(
    model: options.Model,
    agent: Annotated[
        str,
        typer.Option(metavar="LIST", help="Agent by index or name, or several: 0-4 or 0,3,7."),
    ],
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="Episodes of each agent.")] = 5,
    planner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="default (the task's), paper, or a planner: shooting, categorical-cem (discrete "
            "actions), cem, icem, mppi (continuous ones).",
        ),
    ] = "default",
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Action sequences in a round.", show_default="the planner's"
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Their length.", show_default="the planner's"),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Rounds in a decision.", show_default="the planner's"
        ),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Reward to subtract per unit of the members' disagreement, in every step.",
            show_default="the planner's",
        ),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Time limit.", show_default=TASK_DEFAULT)
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Plan in a simulator and act in the agent's true environment.

    Given a task instead of a simulator, it plans in the true dynamics. All episodes are planned
    side by side: the time of a decision is the time of all, divided by their number.
    """
    import torch

    from persim_gym.evaluation.returns import episode_outcomes, episode_returns
    from persim_gym.planning import choose_planner

    suite, sim = models.open_model(model)
    agents = models.find_agents(agent, sim, suite)
    sizes = {"candidates": candidates, "horizon": horizon, "rounds": rounds}
    task = suite.task()
    choice = choose_planner(
        task, planner, **{name: size for name, size in sizes.items() if size is not None}
    )
    if threads is not None:
        torch.set_num_threads(threads)
    if sim is not None and device != "cpu":
        sim = sim.to(device)
    mpc = _timed_mpc(suite.name if sim is None else sim, choice, penalty, seed)
    true = suite.dynamics(suite.population(None if sim is None else models.population_of(sim)))
    with progress_bar("plan") as report:
        outcomes = episode_outcomes(
            task,
            true,
            agents,
            mpc,
            episodes,
            seed,
            max_episode_steps=max_steps,
            on_progress=report,
        )
    chance = episode_returns(task, true, agents, "random", 20, seed, max_episode_steps=max_steps)
    per_decision = 1000 * mpc.seconds / mpc.decisions
    if as_json:
        rows = [
            {
                "agent": agent,
                "returns": own.tolist(),
                "stopped": int(stopped.sum()),
                "random": float(random.mean()),
            }
            for agent, own, stopped, random in zip(
                agents, outcomes.returns, outcomes.stopped, chance, strict=True
            )
        ]
        print_json(
            {
                "model": model,
                "planner": type(mpc.planner).__name__,
                **dataclasses.asdict(mpc.planner),
                "propagation": mpc.objective.propagation,
                "penalty": mpc.objective.penalty,
                "seed": seed,
                "ms_per_decision": per_decision,
                "agents": rows,
            }
        )
        return
    print_table(
        f"Returns in the true {suite.name}, planned in {'truth' if sim is None else model}",
        ["agent", "episodes", "mean", "sd", "least", "most", "random policy"],
        [
            [str(agent), *_spread(own), float(random.mean())]
            for agent, own, random in zip(agents, outcomes.returns, chance, strict=True)
        ],
    )
    _say_stopped(dict(zip(map(str, agents), outcomes.stopped, strict=True)), "agent ")
    typer.echo(f"{per_decision:.3g} ms per decision ({_described(mpc.planner)})")


def _described(planner: Any) -> str:
    """A planner's name and sizes: ``CEM, 6 rounds of 200 candidates of 30 steps``."""
    rounds = f"{planner.rounds} rounds of " if hasattr(planner, "rounds") else ""
    sizes = f"{planner.candidates} candidates of {planner.horizon} steps"
    return f"{type(planner).__name__}, {rounds}{sizes}"


def _timed_mpc(model: PerSim | str, choice: PlannerChoice, penalty: float | None, seed: int) -> Any:
    from persim_gym.planning import MPC

    class TimedMPC(MPC):
        """MPC that counts its decisions and their time."""

        seconds, decisions = 0.0, 0

        def plan(self, agents: Any, obs: Any, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = super().plan(agents, obs, *args, **kwargs)
            self.seconds += time.perf_counter() - began
            self.decisions += len(obs)
            return result

    return TimedMPC(model, planner=choice, penalty=penalty, seed=seed)


def _say_stopped(episodes: dict[str, NDArray[Any]], prefix: str = "") -> None:
    """One line of the episodes that were cut off before their time, if there are any."""
    said = [
        f"{own.sum()} of {len(own)} {prefix}{name}" for name, own in episodes.items() if own.any()
    ]
    if said:
        typer.echo(
            "Episodes cut off by broken physics or a guard, whose returns count up to there: "
            + ", ".join(said)
        )


def _spread(returns: NDArray[Any]) -> list[object]:
    """Number, mean, standard deviation, least and most."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else None
    return [
        len(returns),
        float(returns.mean()),
        deviation,
        float(returns.min()),
        float(returns.max()),
    ]


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
    out: Annotated[Path, options.folder_to_write("Where the policy goes.")],
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="dqn, ppo, sac or td3.",
            show_default="dqn for discrete actions, else sac",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps in the simulator.")
    ] = 40_000,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Episodes of the final judgement.")
    ] = 20,
    seed: options.Seed = 0,
    log: options.Log = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a policy in FOLDER.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a policy inside a simulator and judge it outside.

    A Stable-Baselines3 algorithm learns in the simulator alone; the true environment is used for
    the final judgement only. The policy can then be recorded and rendered.
    """
    from persim_gym import training
    from persim_gym.evaluation.returns import episode_outcomes
    from persim_gym.learned.guard import GuardedSimulator

    suite, sim = models.open_model(str(simulator))
    if sim is None:
        raise ValueError(f"{simulator} is a task: training needs the folder of a simulator")
    index = models.find_agent(agent, sim, suite)
    training.check_algorithm(sim.task, algorithm)
    checks.integer("seed", seed, most=checks.LARGEST_SEED)
    if (out / training.POLICY).exists() and not force:
        raise ValueError(f"{out} holds a policy: choose another folder, or replace it with --force")
    true = suite.dynamics(suite.population(models.population_of(sim)))
    logger = None if log is None else _logger(log, out / options.LOGS)
    with (
        on_interrupt("nothing was kept, the same command begins anew"),
        progress_bar("train") as report,
    ):
        trained = training.train_in_simulator(
            sim, index, steps, seed, algorithm, on_progress=report, logger=logger
        )
    if logger is not None:
        logger.close()
    card = {
        "task": suite.name,
        "agent": index,
        "simulator": str(simulator),
        "dataset": sim.card.get("dataset"),
        "steps": steps,
        "seed": seed,
    }
    training.save_policy(trained, out, card)
    policy = training.load_policy(out)
    guard = training.default_config(suite.name, policy.name).guard
    worlds = {
        "in the simulator": (GuardedSimulator(sim, guard=guard), policy),
        "true environment": (true, policy),
        "true environment, random actions": (true, "random"),
    }
    outcomes = {
        name: episode_outcomes(sim.task, world, [index], actor, episodes, seed)
        for name, (world, actor) in worlds.items()
    }
    returns = {name: own.returns[0] for name, own in outcomes.items()}
    stopped = {name: own.stopped[0] for name, own in outcomes.items()}
    if as_json:
        plain = {
            name.replace(",", "").replace(" ", "_"): own.tolist() for name, own in returns.items()
        }
        counts = {key: int(own.sum()) for key, own in zip(plain, stopped.values(), strict=True)}
        print_json(
            {
                **card,
                "folder": str(out),
                "algorithm": policy.name,
                "returns": plain,
                "stopped": counts,
            }
        )
        return
    print_table(
        f"Returns of agent {agent} of {suite.name}, {policy.name} after {steps:,} steps",
        ["", "episodes", "mean", "sd", "least", "most"],
        [[name, *_spread(own)] for name, own in returns.items()],
    )
    _say_stopped(stopped)
    print_facts("Policy", [("folder", out)])
