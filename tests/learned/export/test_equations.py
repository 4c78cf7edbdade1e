from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch

from persim_gym.envs import SUITES
from persim_gym.learned import PerSim
from persim_gym.learned.ensemble import before_bounds
from persim_gym.learned.export.equations import Equations, equations, equations_of
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.offline import Transitions
from tests.cli.commands import run
from tests.learned.closed_form.polynomial_worlds import LowRankWorld
from tests.learned.closed_form.polynomials import some
from tests.learned.features.swings import AGENTS, SEEN, Swing, data_of
from tests.learned.worlds import PlainTask, random_simulator, transitions


def physics(name: str, agents: int, steps: int, seed: int = 5) -> Transitions:
    """Short stretches of the true physics, from states all over, under random actions."""
    suite = SUITES[name]
    population = suite.population(agents)
    dynamics, task = suite.dynamics(population), suite.task()
    rng = np.random.default_rng(seed)
    who = np.arange(agents)
    rows: list[tuple[Any, ...]] = []
    for t in range(steps):
        if t % 10 == 0:
            width = np.array([1.0, 1.0, 0.2, 1.0] if name == "cartpole" else [0.5, 0.03])
            state = width * rng.uniform(-1, 1, (agents, len(width)))
            state[:, 0] -= 0.4 * (name == "mountain-car")
            state = state.astype(np.float32)
        action = rng.integers(task.action_space.n, size=agents)
        following = dynamics.step(who, state.astype(float), action).astype(np.float32)
        rows.append((who, state, action, following, who * steps + t // 10))
        state = following
    agent, obs, acted, next_obs, episode = (np.concatenate(x) for x in zip(*rows, strict=True))
    order = np.argsort(episode, kind="stable")
    n = len(order)
    none = np.zeros(n, dtype=np.bool_)
    return Transitions(
        agent=agent[order], obs=obs[order], action=acted[order].astype(np.int64),
        next_obs=next_obs[order], reward=np.zeros(n), terminated=none, truncated=none,
        episode=np.unique(episode[order], return_inverse=True)[1], num_agents=agents,
        task_name=name, dataset_id="test/physics",
    )  # fmt: skip


@pytest.fixture(scope="module")
def cartpole() -> PerSim:
    return PerSim.fit(physics("cartpole", 50, 50), method="als", ensemble_size=1, progress=False)


@pytest.fixture(scope="module")
def car() -> PerSim:
    data = physics("mountain-car", 30, 100)
    return PerSim.fit(data, method="als", ensemble_size=1, progress=False)


def read(text: str, names: list[str]) -> list[tuple[float, tuple[int, ...]]]:
    """A printed polynomial as coefficients and exponents: a parser for the tests alone."""
    found = []
    for sign, body in re.findall(
        r"(^-?|[+-] )((?:\([^)]*\)[\^\d]*|[^\s+]+)(?: (?![+-] )(?:\([^)]*\)[\^\d]*|\S+))*)", text
    ):
        coefficient, powers = 1.0, [0] * len(names)
        for word in re.findall(r"\([^)]*\)(?:\^\d+)?|\S+", body):
            base, _, power = word.rpartition("^") if "^" in word else (word, "", "1")
            if base in names:
                powers[names.index(base)] += int(power)
            else:
                coefficient *= float(word)
        found.append((-coefficient if sign.strip() == "-" else coefficient, tuple(powers)))
    return found


def lines(found: Equations) -> dict[tuple[str, str], str]:
    """The printed right sides, by coordinate and action; of one for all actions, by ``""``."""
    sides, name = {}, ""
    for line in str(found).splitlines():
        if match := re.fullmatch(r"d (\S+) = (.+)", line):
            sides[match[1], ""] = match[2]
        elif match := re.fullmatch(r"d (\S+) =", line):
            name = match[1]
        elif match := re.fullmatch(r"    (\S.*?)  +(.+)", line):
            sides[name, match[1]] = match[2]
    return sides


@pytest.mark.slow
def test_cartpole_s_equations_are_the_textbook_s(cartpole: PerSim) -> None:
    for agent in (0, 3, 7):
        sides = lines(cartpole.equations(agent))
        assert sides["position", ""] == "0.02 velocity"
        assert sides["angle", ""] == "0.02 angular_velocity"
        names = ["position", "velocity", "angle", "angular_velocity"]
        push = []
        for action in (0, 1):
            side = sides["velocity", f"action {action}"]
            terms = {powers: value for value, powers in read(side, names)}
            push.append(terms[0, 0, 0, 0])
        force, length = SUITES["cartpole"].population(50).values[agent]
        total, pole = 1.1, 0.1
        common = force / total
        turn = -common / (length * (4 / 3 - pole / total))
        exact = 0.02 * (common - pole * length * turn / total)
        np.testing.assert_allclose(push, [-exact, exact], rtol=5e-3)


@pytest.mark.slow
def test_mountain_car_s_equations_are_the_series_of_its_hill(car: PerSim) -> None:
    agent = 3
    gravity = float(SUITES["mountain-car"].population(30).values[agent, 0])
    found = car.equations(agent)
    x, following = np.linspace(-0.8, 0.0, 9), found.lambdify()
    for action in range(3):
        after = following(position=x, velocity=0.01, action=action)
        exact = 0.001 * (action - 1) - gravity * np.cos(3 * x)
        np.testing.assert_allclose(after[:, 1], 0.01 + exact, atol=1e-5)
        np.testing.assert_allclose(after[:, 0], x + exact + 0.01, atol=1e-5)
    middle = found.polynomials.inputs[0].centre
    change = found.expressions["velocity"].subs({"action": 1, "velocity": 0})
    xi = sympy.Symbol("xi")
    series = sympy.Poly(change.subs("position", xi + middle).expand(), xi)
    # -g cos(3 x) around the centre: a constant, a slope, a curvature, a third power.
    exact = -gravity * np.array([
        np.cos(3 * middle), -3 * np.sin(3 * middle), -4.5 * np.cos(3 * middle),
        4.5 * np.sin(3 * middle),
    ])  # fmt: skip
    got = [float(series.coeff_monomial(xi**power)) for power in range(4)]
    np.testing.assert_allclose(got, exact, atol=0.02 * np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize("which", ["cartpole", "car"])
def test_the_printed_polynomials_are_the_prediction(
    which: str, request: pytest.FixtureRequest
) -> None:
    sim: PerSim = request.getfixturevalue(which)
    agent, d = 5, sim.ensemble.obs_dim
    found = equations_of(sim, agent, digits=9, tolerance=0.0)
    sides = lines(found)
    rng = np.random.default_rng(0)
    box = sim.task.observation_space  # well inside, where nothing is cut
    low, high = np.maximum(sim.experience.low, box.low), np.minimum(sim.experience.high, box.high)
    obs = (0.4 * rng.uniform(low, high, (50, d))).astype(np.float32)
    for action in range(sim.task.action_space.n):  # type: ignore[union-attr]
        acted = np.full(50, action)
        exact = sim.predict(np.full(50, agent), obs, acted) - obs.astype(float)
        inputs = obs - np.array([one.centre for one in found.polynomials.inputs])
        for i, name in enumerate(found.names.inner):
            text = sides.get((name, ""), sides.get((name, f"action {action}"), ""))
            terms = read(text, [one.shown(found.digits) for one in found.polynomials.inputs])
            total = sum(c * np.prod(inputs**powers, axis=1) for c, powers in terms)
            np.testing.assert_allclose(total, exact[:, i], atol=2e-6)
        np.testing.assert_allclose(found.lambdify()(*obs.T, acted), obs + exact, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [{}, {"discrete": False}, {"lag": 2, "angles": (0, 2)}, {"discrete": False, "angles": (1,)}],
    ids=str,
)
def test_equations_are_the_members_mean(kind: dict[str, Any]) -> None:
    ensemble = some(**kind)
    rng = np.random.default_rng(1)
    states = rng.normal(size=(20, 2 * ensemble.lag))
    actions = rng.integers(3, size=20) if ensemble.discrete else rng.normal(size=(20, 2))
    agents = torch.full((20,), 4)
    rows = agents, torch.as_tensor(states), torch.as_tensor(actions)
    acted = actions[None] if ensemble.discrete else actions.T
    own = equations(ensemble, 4).lambdify()
    expected = before_bounds(ensemble, *rows)
    np.testing.assert_allclose(own(*states.T, *acted), expected.mean(0), atol=1e-12)
    # The population's take any agent's factors: the first member's are put in.
    ensemble.factors[..., 0] = 1.0
    population = equations(ensemble)
    assert population.arguments[-1] == "v2"
    factor = ensemble.factors[0, 4, 1].numpy()
    expected = before_bounds(ensemble, *rows)[0]
    np.testing.assert_allclose(
        population.lambdify()(*states.T, *acted, factor), expected, atol=1e-12
    )
    with pytest.raises(TypeError, match=r"the arguments are x0.*, v2, each once"):
        population.lambdify()(*states.T, *acted)


@pytest.fixture(scope="module", params=["als", "hierarchical"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("lag", [1, 2])
def test_angles_and_pasts_are_the_prediction(method: str, seen: str, lag: int) -> None:
    """Of a circle and of degrees; the lag's own terms are there, though the law needs none."""
    look, task = SEEN[seen]
    world = Swing(AGENTS)
    data = data_of(look, world)
    sim = PerSim.fit(data, task=task, method=method, ensemble_size=2, lag=lag, progress=False)
    states = sim.states_of(data)[60:110]
    found = sim.equations(1)
    flat = states.reshape(len(states), -1)[:, sim.ensemble.past :]
    got = found.lambdify()(*flat.T, *data.action[60:110].T)
    expected = sim.predict(1, states, data.action[60:110])
    off = got - expected
    if seen == "compass":
        off[:, 0] = (off[:, 0] + 180) % 360 - 180
        off[:, 0] /= 360
    assert np.abs(off).max() < 1e-6
    text = str(found)
    assert "Inner coordinates: the angle of" in text
    turning = "angle(x0, x2)" if seen == "circle" else "angle(x0)"
    assert list(found.expressions) == [turning, "x1"]
    assert f"sin({turning})" in text


@pytest.mark.slow
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("lag", [1, 3])
def test_a_hierarchical_regression_is_expanded(
    discrete: bool, lag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthonormal products as monomials, on noise: every term is there."""
    rng = np.random.default_rng(0)
    n, steps = 4, 60
    obs = rng.normal([0.3, 4.0], 1.0, (n, steps + 1, 2))
    action = rng.integers(3, size=n * steps) if discrete else rng.normal(size=(n * steps, 2))
    data = transitions(
        np.repeat(np.arange(n), steps), obs[:, :-1].reshape(-1, 2), action,
        obs[:, 1:].reshape(-1, 2),
    )  # fmt: skip
    task = PlainTask.of(2, actions=3) if discrete else PlainTask.of(2, action_dim=2)
    sim = PerSim.fit(
        data, task=task, method="hierarchical", degree=2, lag=lag, ensemble_size=3, progress=False
    )
    states = sim.states_of(data)[70:100]
    flat = states.reshape(len(states), -1)[:, sim.ensemble.past :]
    acted = data.action[70:100]
    found = sim.equations(1)
    got = found.lambdify()(*flat.T, *(acted[None] if discrete else acted.T))
    np.testing.assert_allclose(got, sim.predict(1, states, acted), atol=1e-6, rtol=1e-6)
    precise = sim.ensemble.to("cpu", torch.float64)
    past = torch.as_tensor(states).double().flatten(1)
    rows = torch.ones(30, dtype=torch.long), past, torch.as_tensor(acted)
    np.testing.assert_allclose(got, precise.step(*rows).mean(0), atol=1e-9, rtol=0)
    assert max(len(change) for row in found.polynomials.changes for change in row) > 5
    population = sim.equations()
    assert "the population" in str(population)
    assert population.arguments == found.arguments
    monkeypatch.setattr("persim_gym.learned.export.polynomials.MOST_TERMS", 5)
    with pytest.raises(ValueError, match="terms are too long to be read, 5 are the most: fit with"):
        sim.equations(1)


@pytest.mark.slow
def test_latex_reads_as_the_text_does(cartpole: PerSim) -> None:
    lines_ = cartpole.equations(3, digits=3).latex().splitlines()
    assert lines_[0] == r"\begin{aligned}"
    assert lines_[1] == r"\Delta position &= 0.02 velocity \\"
    assert r"\begin{cases}" in lines_[2]
    assert r"\mathrm{angular\_velocity}" in lines_[2]
    assert r"\text{for}\: action = 1" in lines_[2]
    assert lines_[-1] == r"\end{aligned}"


@pytest.mark.slow
def test_a_population_s_equations_take_any_agent_s_factors() -> None:
    world = LowRankWorld(3, agents=30)
    sim = PerSim.fit(
        world.record(40), task=world.task, method="als", degree=2, rank=3, ensemble_size=1,
        progress=False,
    )  # fmt: skip
    found = sim.equations()
    assert "v2" in str(found)
    assert "v3" in str(found)
    assert "v4" not in str(found)
    states = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 2))
    action = np.zeros(30, dtype=int)
    factors = sim.latent_factors[0].astype(float)
    after = found.lambdify()(*states.T, action, *factors[:, 1:].T)
    np.testing.assert_allclose(after, world.law(states, np.arange(30), action), atol=1e-5)


def test_terms_are_sorted_and_tiny_ones_left_out() -> None:
    ensemble = some()
    found, fewer = equations(ensemble, 1), equations(ensemble, 1, tolerance=0.01)
    inputs = found.polynomials.inputs
    names, usual = [one.shown(4) for one in inputs], np.array([one.typical for one in inputs])
    count = []
    for each, tolerance in ((found, 1e-4), (fewer, 0.01)):
        count.append(0)
        for (name, _), text in lines(each).items():
            unit = each.polynomials.units[each.names.inner.index(name)]
            sizes = [abs(c) * np.prod(usual**powers) / unit for c, powers in read(text, names)]
            assert sizes == sorted(sizes, reverse=True)
            assert min(sizes) > 0.999 * tolerance
            count[-1] += len(sizes)
    assert 0 < count[1] < count[0]
    assert "less than 0.01 of its deviation" in str(fewer)
    numbers = re.findall(
        r"(?<=[ -])0\.0*(\d+)", "\n".join(lines(equations(ensemble, 1, digits=3)).values())
    )
    assert max(map(len, numbers)) == 3


@pytest.mark.slow
def test_what_has_no_equations_says_so(cartpole: PerSim, monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"which cannot be written as equations: fit with method='als' or method='hierarchical'"
    networks = random_simulator(SUITES["cartpole"].task())
    with pytest.raises(TypeError, match=f"one of networks, {said}"):
        networks.equations()
    with pytest.raises(TypeError, match=f"a mixture of models, {said}"):
        equations(MixtureEnsemble([some(), some(seed=1)], [1, 1]))
    monkeypatch.setattr("persim_gym.learned.export.equations.MOST_TERMS", 3)
    with pytest.raises(ValueError, match="terms is too long to be compiled, 3 are the most"):
        equations(some(), 0).lambdify()
    with pytest.raises(ValueError, match="agent 99 does not exist"):
        cartpole.equations(99)
    with pytest.raises(ValueError, match="digits must be"):
        cartpole.equations(0, digits=0)
    with pytest.raises(ValueError, match="tolerance must be"):
        equations_of(cartpole, 0, tolerance=1.0)
    with pytest.raises(ValueError, match="there are 2 coordinates, got 1 names"):
        equations(some(), coordinates=["x"])
    with pytest.raises(ValueError, match="agent must be 0 to 5"):
        equations(some(), 6)


@pytest.mark.slow
def test_command(cartpole: PerSim, tmp_path: Path) -> None:
    folder = str(cartpole.save(tmp_path / "cartpole"))
    shown = run("equations", folder, "--agent", "3")
    assert "agent 3" in shown.output
    assert "d position = 0.02 velocity\n" in shown.output
    latex = run("equations", folder, "--agent", "3", "--latex")
    assert latex.stdout.strip() == cartpole.equations(3).latex()
    everyone = run("equations", folder, "--tolerance", "0.01", "--digits", "2")
    assert "the population" in everyone.output
    assert "v2" in everyone.output
    for arguments in (["--agent", "99"], ["--agent", "nobody"], ["--digits", "0"]):
        run("equations", folder, *arguments, code=2)
    networks = random_simulator(SUITES["cartpole"].task()).save(tmp_path / "networks")
    refused = run("equations", networks, code=2)
    assert "networks" in refused.output
