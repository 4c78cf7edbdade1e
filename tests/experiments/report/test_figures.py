"""What the report's figures show."""

from __future__ import annotations

import numpy as np

from persim_gym.experiments.report.figures import (
    horizon_figure,
    planners_figure,
    probe_of,
    returns_figure,
    scarcity_figure,
    unseen_figure,
)
from persim_gym.experiments.report.side_tables import latent_slots, planner_slots
from persim_gym.experiments.results import Findings
from persim_gym.plots.style import LIGHT
from tests.experiments.paper_rows import latent, predicted, rewarded, unseen


def test_horizon_lines_are_interquartile_means() -> None:
    rows = [predicted("persim", [error], seed=k) for k, error in enumerate((0.1, 0.2, 0.3, 0.9))]
    (axes,) = horizon_figure(Findings(rows), "cartpole").axes
    (line,) = axes.lines
    assert np.asarray(line.get_xdata()).tolist() == [1, 5, 10, 25, 50]
    np.testing.assert_allclose(np.asarray(line.get_ydata())[-1], 0.25)
    assert len(axes.collections) == 1  # the band
    (single,) = horizon_figure(Findings(rows[:1]), "cartpole").axes
    assert len(single.collections) == 0


def test_a_panel_for_each_data_set() -> None:
    rows = [predicted("persim", [0.1], name) for name in ("pure", "random", "pure-eps-20")]
    titles = [axes.get_title() for axes in horizon_figure(Findings(rows), "cartpole").axes]
    assert titles == ["pure", "random", "pure-eps-20"]


def test_infinite_errors_are_left_out_of_curves() -> None:
    found = {"mean": [None], "covariates": [0.1], "1": [None], "5": [0.5], "25": [0.2]}
    (axes,) = unseen_figure(Findings([unseen(found)])).axes
    curve = axes.lines[0]
    assert np.asarray(curve.get_xdata()).tolist() == [5, 25]
    flat = [line for line in axes.lines[1:] if np.ptp(np.asarray(line.get_ydata())) == 0]
    assert [float(np.asarray(line.get_ydata())[0]) for line in flat] == [0.1]


def test_scarcity_has_a_line_for_each_task() -> None:
    rows = [
        predicted("persim", [0.1], task=task, train_agents=count)
        for task in ("cartpole", "mountain-car")
        for count in (25, 50)
    ]
    (axes,) = scarcity_figure(Findings(rows)).axes
    assert len(axes.lines) == 2
    assert [text.get_text() for text in axes.texts] == ["MountainCar", "CartPole"]


def test_lines_differ_in_more_than_colour() -> None:
    names = ("persim", "one-for-all", "bcq", "persistence")
    rows = [predicted(name, [0.1], "random") for name in names]
    (axes,) = horizon_figure(Findings(rows), "cartpole").axes
    assert len({line.get_marker() for line in axes.lines}) == len(names)
    assert len({line.get_linestyle() for line in axes.lines}) == len(names)
    rows = [
        predicted("persim", [0.1], task=task, train_agents=count)
        for task in ("cartpole", "mountain-car")
        for count in (25, 50)
    ]
    lines = scarcity_figure(Findings(rows)).axes[0].lines
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2


def test_what_is_far_off_squeezes_no_other() -> None:
    """A run whose physics broke, beside two that differ a little."""
    rows = [
        rewarded("true", [[700_000.0]], None, planner="default", rate=100.0),
        rewarded("persim", [[3900.0]], planner="default", rate=30.0),
        rewarded("persim", [[3600.0]], "pure", planner="default", rate=20.0),
        *(rewarded(name, [[value]], None) for name, value in (("test-policy", 2e3), ("random", 0))),
    ]
    findings = Findings(rows)
    slots = planner_slots(findings, "cartpole")
    figures = [
        planners_figure(findings, {"cartpole": slots}), returns_figure(findings, "cartpole"),
    ]  # fmt: skip
    for axes in (axes for figure in figures for axes in figure.axes):
        assert axes.get_ylim()[1] < 10_000
        said = [text.get_text() for text in axes.texts]
        assert said
        assert set(said) == {"\N{UPWARDS ARROW} 700,000"}


def test_returns_have_bars_of_their_intervals() -> None:
    rows = [rewarded("random", [[1.0 * k], [5.0 * k]], None, seed=k) for k in range(3)]
    (axes,) = returns_figure(Findings(rows), "cartpole").axes
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["agent 0", "agent 1", "mean"]
    bars = [np.asarray(line.get_ydata()).tolist() for line in axes.lines[::2]]
    assert bars == [[0.0, 2.0], [0.0, 10.0], [0.0, 6.0]]


def test_planners_are_hollow_in_the_truth() -> None:
    rows = [
        rewarded("true", [[2.0]], None, planner="default", rate=100.0),
        rewarded("persim", [[1.0]], planner="default", rate=30.0),
    ]
    findings = Findings(rows)
    (axes,) = planners_figure(findings, {"cartpole": planner_slots(findings, "cartpole")}).axes
    places = {
        float(np.asarray(line.get_xdata())[0]): line.get_markerfacecolor() for line in axes.lines
    }
    assert places == {30.0: LIGHT.learned, 100.0: LIGHT.paper}


def test_the_probe_is_of_the_first_seed() -> None:
    findings = Findings([latent(0.9), latent(0.1, seed=1)])
    (slot,) = latent_slots(findings)
    probe = probe_of(findings, slot)
    results = findings.by_slot[slot].rows[0].results
    assert probe.r2.tolist() == [results["r2"][name] for name in probe.names]
    assert (
        probe.true.shape == probe.predicted.shape == (len(results["covariates"]), len(probe.names))
    )
