"""Every example runs on its own, says what it should, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run an example with ``--quick`` in a place of its own; what it prints comes back."""
    data, place = tmp_path / "minari", tmp_path / "place"
    data.mkdir()
    place.mkdir()

    def run_example(name: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, "--quick", *options],
            cwd=place,
            env={**os.environ, "MINARI_DATASETS_PATH": str(data), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr, f"{name} complains: {done.stderr}"
        assert not list(data.iterdir()), f"{name} --quick has left data sets"
        assert {p.name for p in place.iterdir()} <= {"kept.png"}, f"{name} --quick has left files"
        return done.stdout

    return run_example


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of a pattern match, in the only place where it does."""
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{pattern!r} is there {len(found)} times in:\n{text}"
    groups = found[0] if isinstance(found[0], tuple) else (found[0],)
    return [float(group.replace(",", "")) for group in groups]


NUMBER = r"(-?[\d.,]+(?:e-?\d+)?)"


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r'run\(\s*"(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("[0-9]*.py")} == tested
    assert len(tested) == 9


def test_environments(run: Run, tmp_path: Path) -> None:
    import imageio.v3 as imageio

    said = run("01_environments.py", "--out", "kept.png")
    speeds = [numbers(rf"agent {k} \{{.*cart at {NUMBER} m/s", said)[0] for k in range(5)]
    # Five pushes of 0.02 s on 1.1 kg: in proportion to the force, hardly to the length.
    assert speeds[1] == pytest.approx(5 * speeds[0], rel=0.1)
    assert speeds[2] == pytest.approx(9 * speeds[0], rel=0.1)
    assert speeds[3:] == pytest.approx([speeds[1]] * 2, rel=0.1)
    assert numbers(rf"by covariates: {NUMBER} m/s", said) == speeds[:1]
    assert "reset to agent 7 at position 0.5 m" in said
    assert "observations (8, 18)" in said
    lasted = [numbers(rf"'agent_{k}': (\d+)", said)[0] for k in range(5)]
    assert len(set(lasted)) > 1, "all agents fall at once: they do not differ"
    assert all(8 <= steps <= 200 for steps in lasted)
    picture = imageio.imread(tmp_path / "place" / "kept.png")
    assert picture.shape == (400, 600, 3)
    assert picture.std() > 10


def test_recording(run: Run) -> None:
    said = run("02_record.py")
    data = r"{}: (\d+) episodes, (\d+) transitions, mean return ([\d.]+)"
    random = numbers(data.format("persim/cartpole/random-v0"), said)
    upright = numbers(data.format("persim/examples/upright-v0"), said)
    mixed = numbers(data.format("persim/examples/upright-eps-40-v0"), said)
    assert random[0] == 100
    assert upright[0] == mixed[0] == 40
    for episodes, transitions, mean_return in (random, upright, mixed):
        # CartPole pays one a step.
        assert mean_return == pytest.approx(transitions / episodes, abs=0.06)
    assert random[2] < mixed[2] < upright[2]
    assert "replayed bit for bit: True" in said
    ended, cut = numbers(r"(\d+) ended and (\d+) cut off", said)
    assert ended + cut == 40


def test_fitting(run: Run) -> None:
    said = run("03_fit.py")
    # A velocity changes by a few tenths in a step.
    assert numbers(rf"one-step RMSE {NUMBER} on", said)[0] < 0.01
    assert "loaded simulator equal: True" in said
    pushes = [float(v) for v in re.findall(r"agents 0 to 4 by \[(.*)\]", said)[0].split()]
    assert pushes == pytest.approx([0.039, 0.195, 0.351, 0.195, 0.195], abs=0.005)
    own, other = numbers(rf"own simulator {NUMBER}, another agent's {NUMBER}", said)
    assert own < other
    near, away = numbers(rf"members: {NUMBER} upright, {NUMBER} far", said)
    assert 5 * near < away
    assert numbers(rf"hidden force: R2 {NUMBER}", said)[0] > 0.9
    assert numbers(rf"hidden length: R2 {NUMBER}", said)[0] > 0.4


def test_training_in_a_simulator(run: Run) -> None:
    said = run("04_learned_env_sb3.py")
    assert re.search(r"info \{'disagreement': [\d.]+, 'clipped': 0.*\}", said)
    assert "scalar environment: 600 steps" in said
    assert "8 lanes: 6,000 steps" in said
    scalar, best = re.findall(rf"return in the true agent 3: {NUMBER}", said)
    simulated = numbers(rf"return in the simulator: {NUMBER}", said)[0]
    # A random policy has 20 to 25.
    assert 8 <= float(scalar) <= 200
    assert 60 < float(best) <= 200
    assert 60 < simulated <= 200


def test_planning(run: Run) -> None:
    said = run("05_mpc.py")
    names = ["random", "MPC in the simulators", "MPC in the true dynamics"]
    rows = [re.findall(rf"^  {name} +\[(.*)\]", said, re.MULTILINE)[0].split() for name in names]
    returns = np.array(rows, dtype=float)
    assert returns.shape == (3, 5)
    random, simulated, true = returns.mean(axis=1)
    assert random < 40
    assert simulated > 2 * random
    assert true > 120
    assert returns.max() <= 200
    assert "MPC in agent 2's simulator" in said


@pytest.mark.parametrize("policy", ["mpc", "random"])
def test_simulators_side_by_side(run: Run, policy: str) -> None:
    said = run("06_all_agents_pettingzoo.py", "--policy", policy)
    assert f"policy {policy}," in said
    ends = re.findall(r"agent_(\d): return (\d+) \((.*)\)", said)
    assert [agent for agent, _, _ in ends] == list("01234")
    known = {"the task ended", "time is up", "support", "disagreement", "non-finite"}
    assert {end for _, _, end in ends} <= known
    assert all((end == "time is up") == (steps == "200") for _, steps, end in ends)
    mean = np.mean([float(steps) for _, steps, _ in ends])
    assert mean > 50 if policy == "mpc" else mean < 50


def test_own_dynamics(run: Run) -> None:
    said = run("07_your_own_dynamics.py")
    assert "Gymnasium's checker is content" in said
    assert numbers(rf"one-step RMSE {NUMBER} degrees", said)[0] < 0.1
    thermostat, simulated, true = (
        numbers(rf"{name} +reward a step {NUMBER}", said)[0]
        for name in ("thermostat", "MPC in the simulators", "MPC in the true dynamics")
    )
    assert thermostat < true < 0
    assert simulated == pytest.approx(true, abs=0.2)


def test_own_data(run: Run, tmp_path: Path) -> None:
    import imageio.v3 as imageio

    said = run("08_your_own_data.py", "--plot", "kept.png")
    assert "12 patients, 13824 transitions to fit on, 3456 held out" in said
    means = re.findall(r"^  mean +(.*)$", said, re.MULTILINE)[0].split()
    own, one, persistence = np.array(means, dtype=float).reshape(3, 3)
    # After ten epochs and of few patients; the guide has the numbers of a whole fit.
    assert (own < 0.75 * one).all()
    assert (one < 0.75 * persistence).all()
    assert 0 < own[0] < own[1] < own[2] < 20
    patients = re.findall(r"^  (?:adolescent|adult)#\d{3} +(.*)$", said, re.MULTILINE)
    rows = np.array([row.split() for row in patients], dtype=float)
    assert rows.mean(axis=0) == pytest.approx(np.array(means, dtype=float), abs=0.06)
    # The doses that nobody gave: nearer to the truth than no effect at all, the size of the truth.
    size = numbers(rf"root mean square {NUMBER}:", said)[0]
    right = numbers(rf"hours, its own simulator +wrong by {NUMBER} mg", said)[0]
    wrong = numbers(rf"hours, one model for all +wrong by {NUMBER} mg", said)[0]
    assert right < 0.75 * wrong < 0.75 * size
    glucose, reward = numbers(rf"adult#002 in the simulator: {NUMBER} mg/dL, reward {NUMBER}", said)
    assert 39 < glucose < 400
    assert -60 < reward <= 1
    picture = imageio.imread(tmp_path / "place" / "kept.png")
    assert picture.std() > 10


def test_protocol(run: Run) -> None:
    said = run("09_protocol.py")
    whole, mixed, by_rule, blind = re.split(r"^\d\. .*$", said, flags=re.MULTILINE)[1:]
    true, answer = numbers(rf"by {NUMBER} mg/dL; the simulator says {NUMBER}", whole)
    unseen = numbers(rf"by {NUMBER} mg/dL; the simulator says {NUMBER}", blind)[1]
    assert unseen < 0.5 * true < answer < 1.5 * true
    assert "Check the records of adult#006" in mixed
    assert "Check the records" not in whole
    assert "insulin: follows from glucose" in by_rule
    assert numbers(rf"says {NUMBER}", by_rule)[0] < 0.5
    # What cannot be caught is not: the coming hour may be read off, and the doses were varied.
    assert "values may be read off up to" in blind
    assert "nothing recorded determines it" in blind
