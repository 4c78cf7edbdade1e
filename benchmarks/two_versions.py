"""Speed of the default learned networks in two versions of this package, in turn.

    git worktree add --detach /tmp/then 47583bf
    python benchmarks/two_versions.py /tmp/then

Each version is a process of its own that counts its processor time; the second is this one.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from measure import FULL, QUICK, Effort, Row, Side, amount, interleave, row, table

HERE = Path(__file__).resolve().parent.parent
LANES = 1024


def rows(then: Path, effort: Effort) -> Iterator[Row]:
    """The speed-up of steps of CartPole's networks, and of those of a task of one's own."""
    lanes = effort.scaled(LANES, 4)
    for kind in ("cartpole", "generic"):
        with ExitStack() as stack:
            ask = [stack.enter_context(version(root, kind, lanes)) for root in (then, HERE)]
            for name, steps in (("scalar", 3000), (f"{lanes} lanes", 150)):
                sides = [side(name.split()[-1], effort.scaled(steps, 3)) for side in ask]
                took = interleave(effort, then=sides[0], now=sides[1])
                before, now = (amount(float(sorted(t)[len(t) // 2]), "s") for t in took.values())
                title = f"default networks, {kind}, {name}"
                yield row(title, f"{now} a step", f"then: {before}", took["then"] / took["now"])


@contextmanager
def version(root: Path, kind: str, lanes: int) -> Iterator[Callable[[str, int], Side]]:
    """A process of a checkout; what is given makes sides that measure in it."""
    command = [sys.executable, __file__, "--serve", str(root), kind, str(lanes)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, answers = process.stdin, process.stdout

        def side(name: str, steps: int) -> Side:
            def measure() -> float:
                print(name, steps, file=given, flush=True)
                return float(answers.readline())

            measure()  # so that it is warm
            return measure

        yield side
        given.close()


def serve(root: str, kind: str, lanes: int) -> None:
    """Answer lines such as ``scalar 3000`` with the processor's seconds of a step."""
    sys.path[:0] = [root, f"{root}/benchmarks"]
    import torch

    torch.set_num_threads(1)
    samples = _first("samples", "worlds")  # as it was once called
    from persim_gym.learned import PerSim

    assert Path(_first("persim_gym").__file__).is_relative_to(root)
    options: dict[str, Any] = {}
    if kind == "generic":
        preset = _first("persim_gym.learned.presets", "persim_gym.learned.config")._GENERIC
        names = [
            "rank",
            "state_hidden",
            "activation",
            "normalise_inputs",
            "normalise_targets",
            "hold",
        ]
        options = {name: getattr(preset, name) for name in names}
    data = samples.transitions("cartpole", 500, steps=23)
    sim = PerSim.fit(data, method="sgd", epochs=1, spare_members=0, progress=False, **options)
    envs: dict[str, Any] = {"scalar": sim.env(agent=3), "lanes": sim.vector_env(lanes)}
    for line in sys.stdin:
        name, steps = line.split()
        print(seconds(envs[name], int(steps), name == "scalar"), flush=True)


def seconds(env: Any, steps: int, begins_anew: bool) -> float:
    """Processor time of a step under random actions, the drawing of which is not counted."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    began = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if begins_anew and (terminated or truncated):
            env.reset()
    return (time.process_time() - began) / steps


def _first(*names: str) -> Any:
    """The first of some modules that there is."""
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(names[-1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
        parser.add_argument("then", type=Path, help="a checkout of another version")
        parser.add_argument("--quick", action="store_true", help="fewer repeats")
        options = parser.parse_args()
        print(table(rows(options.then.resolve(), QUICK if options.quick else FULL)))
