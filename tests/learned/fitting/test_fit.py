"""Worlds of known rank: a fit finds them, in what the data show and in what they do not."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.spaces import Box
from minari import create_dataset_from_buffers
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.comparison.family_choice import Comparison
from persim_gym.learned.comparison.score import Score
from persim_gym.learned.config import Hierarchical, Latent
from persim_gym.learned.fitting import assembly, fit
from persim_gym.learned.fitting.candidates import SINGLE
from persim_gym.learned.fitting.families import Fitted, Setting
from persim_gym.learned.fitting.plan import FitPlan
from persim_gym.learned.fitting.progress import FitReport
from persim_gym.offline import read_transitions
from persim_gym.offline.transitions import Transitions
from tests.learned.features.late_worlds import late_body
from tests.learned.fitting.panels import short_panel
from tests.learned.worlds import PlainTask, RankTwoWorld, transitions

TASK = PlainTask.of(2, actions=RankTwoWorld.actions)
OPTIONS: dict[str, Any] = {
    "rank": 2,
    "ensemble_size": 2,
    "spare_members": 1,  # now and then a start gets stuck
    "state_hidden": (32, 32),
    "normalise_targets": False,
    "batch_size": 64,
    "epochs": 60,
    "learning_rate": 1e-2,
}
SIGMA = 0.1


@pytest.fixture(scope="module")
def world() -> RankTwoWorld:
    return RankTwoWorld()


@pytest.fixture(scope="module")
def pairs(world: RankTwoWorld) -> NDArray[np.bool_]:
    """Which agent was ever seen to take which action: three of the five, drawn for each."""
    allowed = np.ones((world.num_agents, world.actions), dtype=np.bool_)
    rng = np.random.default_rng(5)
    for row in allowed:
        row[rng.choice(world.actions, 2, replace=False)] = False
    return allowed


@pytest.fixture(scope="module")
def data(world: RankTwoWorld, pairs: NDArray[np.bool_]) -> Transitions:
    return world.record(100, pairs=pairs)


@pytest.fixture(scope="module")
def sim(data: Transitions) -> PerSim:
    return PerSim.fit(data, task=TASK, **OPTIONS)


class Errors:
    """Root mean square errors against the truth: pairs that were seen, and pairs never seen."""

    def __init__(
        self, world: RankTwoWorld, pairs: NDArray[np.bool_], sim: PerSim, *, pooled: bool = False
    ) -> None:
        test = world.record(200, seed=99)
        truth = world.step(test.agent, test.obs, test.action)
        agents = np.zeros_like(test.agent) if pooled else test.agent
        squares = (sim.predict(agents, test.obs, test.action) - truth) ** 2
        known = pairs[test.agent, test.action]
        assert 0.5 < known.mean() < 0.7
        self.seen = float(np.sqrt(squares[known].mean()))
        self.unseen = float(np.sqrt(squares[~known].mean()))
        self.change = float(np.sqrt(((truth - test.obs) ** 2).mean()))


def test_the_data_hold_no_pair_that_is_left_out(
    data: Transitions, pairs: NDArray[np.bool_]
) -> None:
    assert pairs[data.agent, data.action].all()
    counts = np.zeros(pairs.shape)
    np.add.at(counts, (data.agent, data.action), 1)
    assert counts[pairs].min() > 10


@pytest.mark.slow
def test_a_world_of_rank_two_is_recovered(
    world: RankTwoWorld, pairs: NDArray[np.bool_], sim: PerSim
) -> None:
    errors = Errors(world, pairs, sim)
    assert errors.change > 0.5
    assert errors.seen < 0.02 * errors.change
    assert errors.unseen < 2 * errors.seen


@pytest.mark.slow
def test_too_low_a_rank_and_a_pooled_model_cannot(
    world: RankTwoWorld, pairs: NDArray[np.bool_], data: Transitions, sim: PerSim
) -> None:
    good = Errors(world, pairs, sim)
    one = Errors(world, pairs, PerSim.fit(data, task=TASK, **{**OPTIONS, "rank": 1}))
    shared = replace(data, agent=np.zeros_like(data.agent), num_agents=1)
    pooled = Errors(world, pairs, PerSim.fit(shared, task=TASK, **OPTIONS), pooled=True)
    for poor in (one, pooled):
        assert poor.seen > 15 * good.seen
        assert poor.unseen > 15 * good.unseen


@pytest.mark.slow
def test_latent_factors_are_the_agents_factors_up_to_a_linear_map(
    world: RankTwoWorld, sim: PerSim
) -> None:
    factors = sim.latent_factors
    assert factors.shape == (2, world.num_agents, 2)
    for member in factors:
        residual = np.linalg.lstsq(member, world.u, rcond=None)[1]
        assert residual.sum() < 1e-3 * (world.u**2).sum()


@pytest.mark.slow
def test_noise_is_averaged_out(world: RankTwoWorld, pairs: NDArray[np.bool_]) -> None:
    noisy = world.record(100, pairs=pairs, noise=SIGMA)
    errors = Errors(world, pairs, PerSim.fit(noisy, task=TASK, **OPTIONS))
    assert errors.seen < 0.4 * SIGMA
    assert errors.unseen < 0.4 * SIGMA


@pytest.mark.slow
def test_held_out_error_is_the_noise(world: RankTwoWorld, pairs: NDArray[np.bool_]) -> None:
    noisy = world.record(100, pairs=pairs, noise=SIGMA)
    sim = PerSim.fit(noisy, task=TASK, validation_fraction=0.2, **OPTIONS)
    metrics = sim.card["metrics"]
    assert metrics["heldout_transitions"] == len(noisy) // 5
    assert metrics["heldout_rmse"] == pytest.approx(SIGMA, rel=0.1)
    # The losses are mean squares on the training data, in the network's units (here the data's).
    assert len(metrics["loss"]) == 2
    assert np.sqrt(metrics["loss"]) == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.slow
def test_open_loop_rollouts_stay_on_the_truth(world: RankTwoWorld, sim: PerSim) -> None:
    rng = np.random.default_rng(3)
    n, h = 50, 5
    agents = rng.integers(world.num_agents, size=n)
    # Changes of about one a step leave the recorded square at once: agents that move little stay.
    agents = np.argsort((world.u**2).sum(1))[:5][agents % 5]
    obs = rng.uniform(-0.3, 0.3, size=(n, 2)).astype(np.float32)
    actions = np.full((n, h), int(np.argmin((world.f**2).sum(1))))
    rolled = sim.rollout(agents, obs, actions)
    state: Any = obs
    for t in range(h):
        state = world.step(agents, state, actions[:, t])
        assert np.abs(rolled[:, :, t] - state).max() < 0.02
    assert np.abs(state - obs).max() > 0.1


@pytest.mark.slow
def test_continuous_actions() -> None:
    rng = np.random.default_rng(0)
    agents = np.repeat(np.arange(20), 100)
    u = rng.normal(size=(20, 2))

    def step(agents: Any, obs: Any, actions: Any) -> Any:
        x, (a, b) = obs[:, 0].astype(float), actions.T.astype(float)
        first, second = np.sin(2 * a), a * b
        change = u[agents, 0] * first * np.cos(x) + u[agents, 1] * second * (1 + np.tanh(x))
        return obs + change[:, None]

    def draw(n: int) -> tuple[Any, Any]:
        return rng.uniform(-1, 1, (n, 1)).astype(np.float32), rng.uniform(-1, 1, (n, 2)).astype(
            np.float32
        )

    obs, actions = draw(len(agents))
    data = transitions(agents, obs, actions, step(agents, obs, actions))
    sim = PerSim.fit(
        data,
        task=PlainTask.of(1, action_dim=2),
        **{**OPTIONS, "action_hidden": (32, 32), "ensemble_size": 2},
    )
    obs, actions = draw(len(agents))
    truth = step(agents, obs, actions)
    error = np.sqrt(((sim.predict(agents, obs, actions) - truth) ** 2).mean())
    assert error < 0.05 * np.sqrt(((truth - obs) ** 2).mean())


@pytest.mark.slow
def test_a_hidden_velocity_needs_a_lag_of_two() -> None:
    rng = np.random.default_rng(0)
    agents, steps = 10, 60
    factor = rng.uniform(0.5, 1.5, agents)
    position, velocity = np.zeros((agents, steps + 1)), rng.normal(size=agents) * 0.1
    actions = rng.integers(3, size=(agents, steps))
    for t in range(steps):
        velocity = 0.9 * velocity + 0.1 * factor * (actions[:, t] - 1)
        position[:, t + 1] = position[:, t] + velocity
    data = transitions(
        np.repeat(np.arange(agents), steps),
        position[:, :-1].reshape(-1, 1),
        actions.reshape(-1),
        position[:, 1:].reshape(-1, 1),
    )
    task = PlainTask.of(1, actions=3)
    errors = {}
    for lag in (1, 2):
        options = {**OPTIONS, "lag": lag, "rank": 3, "ensemble_size": 2}
        sim = PerSim.fit(data, task=task, normalise_inputs=True, **options)
        predicted = sim.predict(data.agent, sim.states_of(data), data.action)
        inner = data.step > 0  # of the first step not even two observations tell the velocity
        errors[lag] = np.sqrt(((predicted - data.next_obs)[inner] ** 2).mean())
    change = (data.next_obs - data.obs).std()
    assert errors[1] > 0.5 * change
    assert errors[2] < 0.15 * change


def test_what_was_not_tried_stands_in_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"lags": {"best": 2}, "notes": ["too wide"]}
    monkeypatch.setattr(fit, "candidates_of", lambda *_: ({}, dict(kept)))
    found = Fitted("latent", None, {"notes": ["too many terms"]})  # type: ignore[arg-type]
    monkeypatch.setattr(fit, "_chosen", lambda *_: found)
    data: Any = SimpleNamespace(few_threads=nullcontext)
    plan, setting = FitPlan("auto", "default", {"latent": Latent()}, None), SimpleNamespace()
    metrics = fit.fit_by(data, plan, setting).metrics  # type: ignore[arg-type]
    assert metrics == {"lags": {"best": 2}, "notes": ["too wide", "too many terms"]}


@pytest.mark.parametrize(
    ("error", "unexplained", "escapes", "compared"),
    [
        pytest.param(1e-5, 1e-10, 1.0, {"als"}, id="a law whose rollouts go further than a record"),
        pytest.param(5e-4, 1e-8, 0.0, {"als", "hierarchical"}, id="near a law"),
        pytest.param(5e-4, 1e-8, 0.3, {"als", "hierarchical", "latent"}, id="near, and runs away"),
        pytest.param(5e-3, 1e-8, 0.0, {"als", "hierarchical", "latent"}, id="no law"),
        pytest.param(1e-5, 1e-7, 0.0, {"als", "hierarchical"}, id="more left than rounding"),
        pytest.param(9e-4, 3e-5, 0.0, {"als", "hierarchical", "latent"}, id="an approximation"),
    ],
)
def test_what_is_compared_beside_a_closed_form(
    error: float, unexplained: float, escapes: float, compared: set[str]
) -> None:
    metrics = {"chosen": {"error": error, "escapes": escapes}, "unexplained": unexplained}
    found = Fitted("als", None, metrics)  # type: ignore[arg-type]
    configs = dict.fromkeys(("als", "hierarchical", "latent"))
    assert fit._worth_comparing(configs, found).keys() == compared


@pytest.mark.parametrize(
    ("error", "score", "weights", "beaten"),
    [
        pytest.param(5e-4, 2e-4, {"hierarchical": 1.0}, True, id="clearly"),
        pytest.param(5e-4, 8e-4, {"hierarchical": 1.0}, False, id="hardly"),
        pytest.param(3e-4, 2e-4, {"hierarchical": 1.0}, False, id="not with all data"),
        pytest.param(5e-4, 2e-4, {"hierarchical": 0.6, "als": 0.4}, False, id="only in a mixture"),
    ],
)
def test_a_closed_form_near_the_law_stays_unless_clearly_beaten(
    error: float, score: float, weights: dict[str, float], beaten: bool
) -> None:
    closed = Fitted("als", None, {"chosen": {"error": error}})  # type: ignore[arg-type]
    scores = {"als": Score(np.log(1e-3)), "hierarchical": Score(np.log(score))}
    found = Comparison(scores, "hierarchical", weights, (1,), {})
    assert fit._is_beaten(closed, found) == beaten


@pytest.mark.slow
def test_a_law_is_taken_though_it_leaves_the_range_of_short_records() -> None:
    """Growth by a tenth a step, seen for ten steps: later it is far beyond the record."""
    rng = np.random.default_rng(0)
    agents, steps = 30, 10
    x, u = rng.normal(size=(agents, steps)), rng.uniform(-1, 1, (agents, steps))
    gain = rng.uniform(0.5, 2, agents)
    for t in range(steps - 1):
        x[:, t + 1] = 1.3 * x[:, t] + gain * u[:, t] * (1 + 0.2 * x[:, t])
    table = pd.DataFrame(
        {
            "agent": np.repeat(np.arange(agents), steps),
            "time": np.tile(np.arange(steps), agents),
            "x": x.ravel(),
            "u": u.ravel(),
        }
    )
    columns = {"agent": "agent", "time": "time", "state": ["x"], "action": ["u"]}
    sim = PerSim.fit(table, columns=columns, progress=False)
    assert sim.card["metrics"]["chosen"]["escapes"] > 0.5
    assert sim.card["fitted_by"] == "als"
    assert "compared" not in sim.card["metrics"]


def test_a_family_that_could_not_be_fitted_stands_in_the_notes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fit.fit_family

    def failing(data: Any, config: Any, *args: Any, **options: Any) -> Fitted:
        if isinstance(config, Latent):
            raise FloatingPointError("beyond repair")
        return whole(data, config, *args, **options)

    monkeypatch.setattr(fit, "fit_family", failing)
    sim = PerSim.fit(short_panel(12), progress=False)
    assert "latent could not be fitted: beyond repair" in sim.card["metrics"]["notes"]


@pytest.mark.parametrize(("size", "threads"), [(10**6, 1), (1, 2)], ids=["few", "many"])
def test_few_data_are_fitted_by_one_thread(
    size: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the fit to the intervals; many data by as many threads as there were."""
    monkeypatch.setattr("persim_gym.threads.SMALL_LAYER", size)
    seen: dict[str, int] = {}

    def watched(call: Any) -> Any:
        def watch(*given: Any) -> Any:
            seen[call.__name__] = torch.get_num_threads()
            return call(*given)

        return watch

    monkeypatch.setattr(fit, "fit_hierarchy", watched(fit.fit_hierarchy))
    monkeypatch.setattr(assembly, "learn_uncertainty", watched(assembly.learn_uncertainty))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        task = PlainTask.of(1, actions=2)
        PerSim.fit(short_panel(8), task=task, method="hierarchical", degree=1, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {"fit_hierarchy": threads, "learn_uncertainty": threads}


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.5, 0.0])
def test_what_noise_hides_is_fitted_plainly(noise: float) -> None:
    sim = PerSim.fit(short_panel(12, noise), task=PlainTask.of(1, actions=2), progress=False)
    metrics = sim.card["metrics"]
    if noise:
        taken = metrics.get("weights") or {"linear": 1.0}
        assert all(name.startswith("linear") for name in taken)
        assert metrics["comparison"]["linear"]["error"]["1"][0] > 0.1
    assert sim.card["fitted_by"] == ("hierarchical" if noise else "als")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("source", ["minari", "transitions"])
@pytest.mark.parametrize("method", ["als", "hierarchical"])
def test_data_of_no_environment_and_no_name_are_fitted(source: str, method: str) -> None:
    """Such as a Minari data set that somebody has made from buffers of their own."""
    rng = np.random.default_rng(0)
    buffers = []
    for agent in range(4):
        obs, actions = [rng.normal(size=2)], rng.uniform(-1, 1, (20, 1))
        for action in actions:
            obs.append(0.9 * obs[-1] + 0.1 * (1 + agent) * action)
        buffers.append(
            EpisodeBuffer(
                options={"agent": agent},
                observations=np.array(obs, np.float32),
                actions=actions.astype(np.float32),
                rewards=np.zeros(20),
                terminations=np.zeros(20, dtype=bool),
                truncations=np.arange(20) == 19,
            )
        )
    spaces = {"observation_space": Box(-9, 9, (2,)), "action_space": Box(-1, 1, (1,))}
    with pytest.warns(UserWarning, match="None"):
        made = create_dataset_from_buffers("own/data-v0", buffers, **spaces)
    given: Any = made
    if source == "transitions":
        given = replace(read_transitions(made), dataset_id="")
    sim = PerSim.fit(given, method=method, degree=1, ensemble_size=2, progress=False)
    assert sim.task.name == ("own/data-v0" if source == "minari" else "data")
    obs, _ = sim.env(2).reset(seed=0)
    assert obs.shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_single_steps_are_compared_where_windows_were_fitted(noise: float) -> None:
    """With a past: a hidden switch, for one, is no smooth function of it."""
    latent = Latent(ensemble_size=1, first_steps=300, steps=50, window_steps=50)
    plan = FitPlan("auto", "default", {"hierarchical": Hierarchical(), "latent": latent}, None)
    found = fit.fit_by(late_body(noise), plan, Setting(torch.device("cpu"), FitReport()))
    pasts = {name for name in found.metrics["compared"] if name.startswith("latent, lag")}
    assert pasts
    assert any(name.endswith(SINGLE) for name in pasts) is bool(noise)
