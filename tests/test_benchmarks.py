"""The benchmarks run, measure what they say, and compare like with like; no time is tested."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.evaluation.adaptation import LEVELS, Adaptation, Coverage
from persim_gym.evaluation.uncertainty import OpenLoopUncertainty, StepUncertainty
from persim_gym.learned import PerSim
from persim_gym.learned.ensemble import before_bounds
from persim_gym.planning import Objective
from persim_gym.plots.style import DARK

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parent.parent / "benchmarks"
MODULES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


class Benchmarks:
    """The scripts as modules, by name."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    # The scripts import each other by their plain names, as they do when one of them is run.
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(SCRIPTS))
    yield Benchmarks()
    sys.path.remove(str(SCRIPTS))
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(before)


@pytest.fixture(scope="module")
def tiny(bench: Any) -> Any:
    return bench.measure.Effort(rounds=1, best_of=1, size=0.01, seconds=0.001)


NAMES = {
    "environments": ["CartPole, 10", "MountainCar, 10", "CartPole, s", "MountainCar, s", "Half"],
    "fitting": ["fit, mountain", "memory", "fit, cartpole"],
    "planning": ["decision, cart", "decisions, cart", "decision, half", "decisions, half"],
    "learned_env": [
        f"default learned CartPole, {kind}, {size}"
        for kind in ("closed form", "networks", "latent networks")
        for size in ("10 lanes", "scalar")
    ],
    "sfbc": ["SfBC decision, 1 at", "SfBC decision, 25"],
    "reading": [
        "read",
        "training tensors",
        "disk to",
        "checked reading, first",
        "checked reading, again",
        "import of a pickle",
        "memory from disk to tr",
        "memory from disk to te",
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_measures_what_it_lists(name: str, bench: Any, tiny: Any) -> None:
    threads = torch.get_num_threads()
    rows = list(getattr(bench, name).rows(tiny))
    assert torch.get_num_threads() == threads
    for expected in NAMES[name]:
        assert [r for r in rows if r.name.startswith(expected)], expected
    for r in rows:
        # Memory may not grow at all for so little data.
        assert math.isfinite(r.value)
        assert r.value > 0 or r.name.startswith("memory")
        assert r.low <= r.value <= r.high
        assert r.ours
        assert r.peer
    assert len({(r.name, r.peer.split(":")[0]) for r in rows}) == len(rows)


def test_a_version_is_measured_beside_itself(bench: Any, tiny: Any) -> None:
    rows = list(bench.two_versions.rows(SCRIPTS.parent, tiny))
    assert [r.name for r in rows] == [
        f"default networks, {kind}, {size}"
        for kind in ("cartpole", "generic")
        for size in ("scalar", "10 lanes")
    ]
    assert all(r.value > 0 for r in rows)


def test_run_knows_every_benchmark(bench: Any) -> None:
    assert {name: getattr(bench, name).rows for name in NAMES} == bench.run.BENCHMARKS


def test_sides_are_timed_in_turn_and_the_best_of_a_round_counts(bench: Any) -> None:
    calls: list[str] = []
    scripted = {"a": iter([5.0, 3.0, 2.0, 4.0]), "b": iter([1.0, 9.0, 8.0, 7.0])}

    def side(name: str) -> Any:
        def measure() -> float:
            calls.append(name)
            return next(scripted[name])

        return measure

    effort = bench.measure.Effort(rounds=2, best_of=2)
    times = bench.measure.interleave(effort, a=side("a"), b=side("b"))
    assert calls == ["a", "b"] * 4
    assert times["a"].tolist() == [3.0, 2.0]
    assert times["b"].tolist() == [1.0, 7.0]


def test_a_row_has_median_spread_and_verdict(bench: Any) -> None:
    row = bench.measure.row
    values = np.array([3.0, 1.0, 8.0])
    plain = row("name", "ours", "peer", values)
    assert (plain.value, plain.low, plain.high, plain.verdict) == (3.0, 1.0, 8.0, "")
    assert row("n", "o", "p", values, target=3, goal=4).verdict == "target"
    assert row("n", "o", "p", values, target=2, goal=3).verdict == "goal"
    assert row("n", "o", "p", values, target=3.1).verdict == "missed"
    assert row("n", "o", "p", values, better="less", target=3).verdict == "target"
    assert row("n", "o", "p", values, better="less", target=2.9).verdict == "missed"
    assert row("n", "o", "p", values, better="less", goal=2.9).verdict == "below goal"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2.34e6, "steps/s", "2.34 Msteps/s"),
        (0.5, "B", "0.5 B"),
        (0.0123, "s", "12.3 ms"),
        (4.2e-5, "s", "42 µs"),
        (90.0, "s", "90 s"),
    ],
)
def test_amounts_are_written_with_three_digits(
    value: float, unit: str, expected: str, bench: Any
) -> None:
    assert bench.measure.amount(value, unit) == expected


def test_the_command_line_prints_a_table_and_writes_json(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, asked = bench.measure, []

    def one(effort: Any) -> Iterator[Any]:
        asked.append(effort)
        yield measure.row("speed", "2 a", "1 b", np.array([2.0]), target=1)

    def other(effort: Any) -> Iterator[Any]:
        raise AssertionError("not named")

    out = tmp_path / "bench.json"
    measure.main({"one": one, "other": other}, ["one", "--quick", "--json", str(out)])
    assert asked == [measure.QUICK]
    printed = capsys.readouterr().out
    assert "cores:" in printed
    assert "torch_threads:" in printed
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:5]] == ["speed", "2 a", "1 b", "2"]
    written = json.loads(out.read_text())
    assert written["machine"]["torch"] == torch.__version__
    assert written["rows"][0]["value"] == 2.0
    assert written["rows"][0]["reached"] == "target"
    measure.main({"one": one}, [])
    assert asked[1] == measure.FULL
    with pytest.raises(SystemExit):
        measure.main({"one": one, "other": other}, ["third"])
    assert "there are one, other" in capsys.readouterr().err


def test_synthetic_transitions_are_true_ones(bench: Any) -> None:
    import gymnasium as gym

    import persim_gym  # noqa: F401

    data = bench.samples.transitions("cartpole", agents=6, steps=60)
    assert len(data) == 360
    assert np.array_equal(np.bincount(data.agent), np.full(6, 60))
    env = gym.make("PerSim-CartPole-v0", population=6).unwrapped
    for row in np.random.default_rng(0).integers(0, 360, size=20):
        env.reset(options={"agent": int(data.agent[row]), "state": data.obs[row]})
        obs, _, terminated, _, _ = env.step(data.action[row])
        assert np.allclose(obs, data.next_obs[row], atol=1e-6)
        assert terminated == data.terminated[row]
    # After an end comes a start; inside an episode each transition goes on where the last stopped.
    same = data.episode[1:] == data.episode[:-1]
    assert np.array_equal(data.obs[1:][same], data.next_obs[:-1][same])
    assert data.terminated[:-1].any()
    assert not same[data.terminated[:-1]].any()
    assert (abs(data.obs[data.starts]) <= 0.05).all()


@pytest.mark.parametrize("task_name", ["cartpole", "half-cheetah"])
def test_the_reference_computes_what_the_simulator_computes(bench: Any, task_name: str) -> None:
    sim = bench.samples.simulator(task_name, agents=7)
    with torch.no_grad():
        sim.ensemble.network.tensors["head.weight"].mul_(1e3)  # no longer tiny changes
    mean = task_name == "half-cheetah"
    generator = torch.Generator().manual_seed(1)
    k, h = 20, 4
    if mean:
        actions = torch.rand(k, h, 6, generator=generator) * 2 - 1
    else:
        actions = torch.randint(2, (k, h), generator=generator)
    obs = torch.as_tensor(sim.experience.starts[3])
    reference = bench.reference_plan.ReferencePlanner(sim).returns(5, obs, actions, mean=mean)
    objective = Objective(sim.task, sim, "mean" if mean else "members")
    ours = objective(torch.tensor([5]), obs[None], actions[None])[0]
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)
    assert reference.std() > 1e-2  # in CartPole because some members' poles fall


def test_the_reference_networks_predict_like_the_members(bench: Any) -> None:
    sim = bench.samples.simulator("mountain-car", agents=7)
    nets = bench.reference_plan.reference_members(sim)
    agents, actions = torch.arange(7), torch.arange(7) % 3
    obs = torch.rand(7, 2, generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot
    theirs = torch.stack(
        [net(one_hot(agents, 7).float(), obs, one_hot(actions, 3).float()) for net in nets]
    )
    ours = before_bounds(sim.ensemble, agents, obs, actions) - obs
    torch.testing.assert_close(theirs.detach(), ours, rtol=1e-3, atol=1e-7)
    assert (theirs[0] != theirs[1]).any()


def test_the_reference_fit_learns(bench: Any) -> None:
    data = bench.samples.transitions("cartpole", agents=10, steps=23)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = bench.reference_fit.ReferenceNet(10, 4, 2, 5, (32,), ())
    listed = bench.reference_fit.samples(data, 2)
    assert len(listed) == 230
    agent, state, action, target = listed[25]
    assert agent.argmax() == data.agent[25]
    assert agent.sum() == action.sum() == 1
    assert action.argmax() == data.action[25]
    assert np.allclose(state + target, data.next_obs[25], atol=1e-6)
    fit = bench.reference_fit.ReferenceFit(listed, net, batch_size=10)
    for _ in range(20):
        fit.seconds_an_epoch(23)
    assert len(fit.losses) == 460
    assert np.mean(fit.losses[-23:]) < 0.2 * np.mean(fit.losses[:23])


def test_multiply_adds_are_those_of_the_layers(bench: Any) -> None:
    cartpole = bench.samples.simulator("cartpole", agents=5)
    assert bench.samples.multiply_adds(cartpole) == 4 * 256 + 256 * 4 * 5 + 5 + 4 * 5
    cheetah = bench.samples.simulator("half-cheetah", agents=5)
    state = 18 * 512 + 3 * 512 * 512 + 512 * 18 * 15
    action = 6 * 512 + 512 * 512 + 512 * 15
    assert bench.samples.multiply_adds(cheetah) == state + action + 15 + 18 * 15


def test_planned_steps_are_all_paid_for(bench: Any) -> None:
    # With 50 steps to go and no end in sight, each candidate earns the whole horizon.
    sim = bench.samples.simulator("cartpole", agents=5)
    objective = Objective(sim.task, sim)
    actions = torch.randint(2, (1, 8, 50), generator=torch.Generator().manual_seed(0))
    returns = objective(torch.tensor([1]), torch.zeros(1, 4), actions)
    assert returns.tolist() == [[50.0] * 8]


def test_memory_counts_what_a_process_holds_at_most(bench: Any) -> None:
    code = (
        "import numpy as np, fitting_memory as f; before = f.peak(); "
        "block = np.ones(8_000_000); del block; print(f.peak() - before)"
    )
    # This process holds more than the new one; that must not be counted as the new one's.
    grown = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, check=True, capture_output=True, text=True
    )
    assert 45_000_000 < int(grown.stdout) < 70_000_000


def test_true_physics_from_a_start_that_is_not_off_is_the_truth(bench: Any) -> None:
    hc = bench.half_cheetah
    dynamics = hc.HalfCheetahDynamics(hc.find_suite(hc.TASK).population({"size": 5}))
    agents, rng = np.arange(5), np.random.default_rng(0)
    states, actions = 0.1 * rng.normal(size=(5, 18)), rng.uniform(-1, 1, (5, 4, 6))
    truth = dynamics.rollout(agents, states, actions)
    for size, same in ((0.0, True), (1e-3, False)):
        found = hc.OffTruth(dynamics, np.full(18, size)).rollout(agents, states, actions)
        assert np.array_equal(found[0], truth) is same
        assert found.shape == (1, 5, 4, 18)


def test_contacts_are_those_of_the_ground(bench: Any) -> None:
    hc = bench.half_cheetah
    dynamics = hc.HalfCheetahDynamics(hc.find_suite(hc.TASK).population({"size": 5}))
    steps = hc.WARMUP + hc.HORIZON
    obs, actions = np.zeros((2, steps + 1, 18)), np.zeros((2, steps, 6))
    obs[0, :, 1], obs[1, :, 1] = -0.1, 3.0  # metres from the start, a little above the ground
    episodes = hc.Episodes(hc.TASK, np.array([4, 4]), obs, actions, np.full(2, steps), 10, 50)
    touching = hc.in_contact(dynamics, episodes)
    assert touching.shape == (2, steps)
    assert touching[0].all()
    assert not touching[1].any()


def test_growth_says_what_follows_for_a_million_agents(bench: Any) -> None:
    growth = bench.growth

    def size(agents: int) -> Any:
        # Two milliseconds, 2500 bytes of data and 1000 bytes beyond them for each agent.
        return growth.Growth(
            agents, 50 * agents, 9.0, 1 + 0.002 * agents, 2500 * agents, 10**8 + 1000 * agents,
            40 * agents, 1e-5, (5, 2, 1e-5),
        )  # fmt: skip

    found = [size(1_000), size(10_000), size(100_000)]
    assert growth.slope(found, "processor_seconds") == pytest.approx(0.002)
    lines = growth.table(found).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["1,000", "10,000", "100,000"]
    # 2001 s, 2.5 GB, 0.1 + 1 GB.
    assert "a million agents: 33.4 min, 2.50 GB of data and 1.10 GB beyond" in lines[-1]
    drawn = growth.figure(found)
    line = drawn.axes[1].lines[1]
    assert np.allclose(line.get_xdata(), [1e3, 1e4, 1e5])
    assert np.allclose(line.get_ydata(), [101, 110, 200])


def test_growth_measures_one_fit(bench: Any, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    data, file = bench.samples.transitions("mountain-car", 40, 50), tmp_path / "data.npz"
    bench.growth.store(data, file)
    try:
        found = bench.growth.measure(file)
    finally:
        torch.set_num_threads(threads)
    assert (found.agents, found.transitions) == (40, 2000)
    arrays = [getattr(data, name) for name in bench.growth.ARRAYS]
    assert found.data_bytes == sum(array.nbytes for array in arrays)
    assert found.factor_bytes == 5 * 40 * found.chosen[1] * 4
    assert 0 < found.rmse < 0.01
    assert found.processor_seconds > 0


def test_a_smaller_population_has_the_same_transitions(bench: Any) -> None:
    few, many = (bench.samples.transitions("mountain-car", agents, 30) for agents in (4, 9))
    for name in ("agent", "obs", "action", "next_obs"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:120])


def test_latent_prints_numbers_and_draws_of_a_saved_simulator(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bench.samples.transitions("mountain-car", 40, 30)
    PerSim.fit(data, method="als", degree=3, rank=2, progress=False).save(tmp_path / "sim")
    json_file = tmp_path / "found.json"
    common = ["--simulator", str(tmp_path / "sim"), "--plots", str(tmp_path)]
    bench.latent.main(["mountain-car", *common, "--json", str(json_file)])
    found = json.loads(json_file.read_text())["mountain-car"]
    assert found["r2"]["gravity"] > 0.99
    assert found["rank_correlation"]["gravity"] > 0.99
    printed = capsys.readouterr().out
    assert f"R2 {found['r2']['gravity']:.5f}" in printed
    assert (tmp_path / "latent-mountain-car.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        bench.latent.main(["cartpole", *common])
    assert "is of task 'mountain-car'" in capsys.readouterr().err


def test_planners_beside_each_other(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "found.json"
    bench.planners.main(["--task", "mountain-car", "--quick", "--json", str(json_file)])
    printed = capsys.readouterr().out
    found = json.loads(json_file.read_text())
    assert found["agents"] == [5, 6]
    names = [row["name"] for row in found["planners"]]
    assert {"paper", "shooting (default)", "categorical-cem"} <= set(names)
    for row in found["planners"]:
        assert row["truth"] == row["simulator"] == [[-3.0], [-3.0]]  # nobody arrives in 3 steps
        assert row["alone"] > 0
        assert row["batch"] > 0
        assert f"| {row['name']} " in printed
    assert "What is possible: -76.5" in printed  # -85 and -68, each by itself below
    with pytest.raises(SystemExit):
        bench.planners.main(["--task", "mountain-car", "--planners", "mppi"])
    assert "no planner 'mppi': there are default, paper" in capsys.readouterr().err


def test_what_is_possible_on_the_mountain(bench: Any) -> None:
    """The same number by a driver that pushes along its velocity, where that is the best: with
    hardly any gravity the car goes straight up."""
    suite = bench.planners.SUITES["mountain-car"]
    true, task = suite.dynamics(suite.population()), suite.task()
    start, steps = np.array([-0.45, 0.0]), 0
    state = start[None]
    while not task.terminated(state).any():
        state = np.asarray(true.step(np.array([0]), state, np.array([2])))
        steps += 1
    assert bench.planners.least_steps(task, true, 0, start) == steps
    # Against gravity one must take a run-up; finer cells find nothing better.
    found = [bench.planners.least_steps(task, true, 3, start, cells) for cells in (500, 1500)]
    assert found[1] <= found[0] <= found[1] + 2
    assert found[1] > steps


def test_four_goals_have_a_panel_for_each_way(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.sfbc_toy.main(["--quick", "--out", str(tmp_path / "toy.png")])
    lines = capsys.readouterr().out.splitlines()
    returns = {line[:16].strip(): float(line[16:24]) for line in lines[1:]}
    assert list(returns) == ["behaviour", "Gaussian clone", "diffusion clone", "SfBC"]
    assert all(-12 <= value < 0 for value in returns.values())
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")


def test_the_behaviour_of_four_goals_is_recorded_as_it_was_played(bench: Any) -> None:
    paths, data = bench.sfbc_toy.recorded(20, seed=0)
    assert len(data) == paths.lengths.sum()
    ends = data.starts + data.lengths - 1
    assert np.array_equal(data.terminated[ends], paths.arrived)
    assert not (data.terminated & data.truncated).any()
    same = data.episode[1:] == data.episode[:-1]
    assert np.array_equal(data.obs[1:][same], data.next_obs[:-1][same])


def test_figure_of_adaptation(bench: Any) -> None:
    counts = np.array([1, 10, 50])
    level = np.tile(np.array(LEVELS), (3, 1))
    found = Adaptation(
        "cartpole", np.arange(4), counts, rmse=np.outer([1.0, 0.1, 0.01], [1.0, 2.0, 3.0, 4.0]),
        trained=np.full(4, 0.005), mean=np.full(4, 2.0), deviation=np.ones((3, 4)),
        calibrated=Coverage(level, level, level), plain=Coverage(level / 2, level, level),
    )  # fmt: skip
    figure = bench.adaptation.adaptation_figure([found, found], DARK)
    assert len(figure.axes) == 4
    errors, coverage = figure.axes[:2]
    medians = [line.get_ydata() for line in errors.lines if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(medians, [[2.5, 0.25, 0.025]])
    assert errors.get_yscale() == "log"
    assert [text.get_text() for text in coverage.get_xticklabels()] == ["1", "10", "50"]
    assert errors.get_ylabel() == "RMSE, all (paper's)"
    assert figure.axes[2].get_ylabel() == ""  # only the first column names its axes


def test_figure_of_uncertainty(bench: Any) -> None:
    deviation = np.exp(np.random.default_rng(0).normal(size=(200, 3)))
    open_loop = OpenLoopUncertainty(deviation, deviation.copy(), np.ones((200, 3), dtype=bool))
    one = StepUncertainty(deviation[:, 0], deviation[:, 0], np.zeros(200))
    figure = bench.uncertainty.uncertainty_figure({"this": open_loop}, {"this": one})
    ranks, calibration, _ = figure.axes
    np.testing.assert_allclose(ranks.lines[0].get_ydata(), 1.0)
    points = calibration.lines[0]
    np.testing.assert_allclose(points.get_xdata(), points.get_ydata())


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="asks Linux what was worked")
def test_a_quota_of_half_a_core_takes_twice_as_long_as_the_work(bench: Any) -> None:
    code = "import time\nwhile time.process_time() < 0.5: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        began = time.perf_counter()
        bench.crowded.hold(process)
        assert process.wait() == 0
        # A busy machine takes longer, and nothing is faster than the quota.
        assert time.perf_counter() - began > 0.7
