"""The tables beside the main ones."""

from __future__ import annotations

from persim_gym.experiments.report.page import all_tables
from persim_gym.experiments.report.side_tables import (
    fit_seconds,
    planner_tables,
    scarce_return_tables,
    scarcity_tables,
    time_tables,
    trained_tables,
    unseen_tables,
)
from persim_gym.experiments.report.tables import NOTHING
from persim_gym.experiments.results import (
    Findings,
    Variant,
)
from tests.experiments.paper_rows import (
    at,
    latent,
    predicted,
    rewarded,
    unseen,
)


def test_planners() -> None:
    rows = [
        rewarded("persim", [[4.0]], planner="default", rate=1234.5),
        rewarded("persim", [[5.0]], planner="paper", rate=20.0),
        rewarded("persim", [[6.0]], "pure", planner="default", rate=1.0),
    ]
    (table,) = planner_tables(Findings(rows))
    search = "RandomShooting (1,000 candidates, 50 steps)"
    assert table.rows == (
        ("CartPole", "random", "PerSim", "default", search, "4", "1,234", "40"),
        ("CartPole", "random", "PerSim", "paper", search, "5", "20.0", "40"),
    )


def test_policies_trained_in_the_simulator_stand_beside_planning() -> None:
    from dataclasses import replace

    spent = {"training": {"steps": 10, "agents": 2, "seconds": 90.0}}
    trained = rewarded("persim-dqn", [[3.0, 3.0], [5.0, 5.0]])
    rows = [
        rewarded("persim", [[6.0, 6.0], [8.0, 8.0]], planner="default", rate=10.0),
        rewarded("persim", [[6.0], [8.0]], "pure", planner="default", rate=10.0),
        replace(trained, results={**trained.results, **spent}),
        rewarded("bcq-p", [[1.0], [1.0]]),
    ]
    (table,) = trained_tables(Findings(rows))
    # 400 decisions at 10 a second, in four episodes; data sets without training are left out.
    assert table.rows == (
        ("CartPole", "random", "PerSim", "7", NOTHING, "10 s"),
        ("CartPole", "random", "PerSim-DQN", "4", "45 s", NOTHING),
    )
    assert trained_tables(Findings(rows[:2]))[0].rows == ()


def test_scarcity() -> None:
    rows = [predicted("persim", [0.1 * k], train_agents=10 * k) for k in (1, 2, 4)]
    rows.append(predicted("persim", [0.5], train_agents=20, task="mountain-car"))
    (table,) = scarcity_tables(Findings(rows))
    assert table.head[3:] == ("10 agents", "20 agents", "40 agents")
    assert at(table, "20 agents", "CartPole") == "0.200"
    # One number of agents alone is no curve.
    assert len(table.rows) == 1


def test_scarcity_of_returns_is_of_policies_and_of_the_main_planner() -> None:
    rows = [rewarded("bcq-p", [[float(k)]], train_agents=10 * k) for k in (1, 2, 4)]
    rows += [
        rewarded("persim", [[7.0 + k]], planner=planner, train_agents=10 * k, rate=1.0)
        for k, planner in ((1, "default"), (4, "default"), (4, "paper"))
    ]
    (table,) = scarce_return_tables(Findings(rows))
    assert [row[2] for row in table.rows] == ["PerSim", "BCQ-P"]
    assert table.rows[0][3:] == ("8", NOTHING, "11")
    assert table.rows[1][3:] == ("1", "2", "4")
    assert "scarcity-return" in [own.name for own in all_tables(Findings(rows))["scarcity"]]


def test_unseen_agents() -> None:
    found = {"50": [0.1, 0.2, 0.9], "mean": [1.0, 2.0, None], "5": [0.3, 0.4, 0.5]}
    findings = Findings([unseen(found)])
    (table,) = unseen_tables(findings)
    assert table.head[3:] == ("the mean agent", "5 transitions", "50 transitions")
    assert table.rows[0][3:] == ("2.00", "0.400", "0.200")


def test_latent_factors() -> None:
    rows = [latent(0.98), latent(0.96, seed=1)]
    (table,) = all_tables(Findings(rows))["latent"]
    assert at(table, "R2", "CartPole", "random", "PerSim", "force") == "0.970 ± 0.0141"


def test_time_of_a_fit_is_counted_once() -> None:
    first = predicted("persim", [0.1], made={"seconds": {"data": 0.5, "fit": 30.0, "run": 1.0}})
    again = rewarded("persim", [[1.0]], made={"seconds": {"fit": 0.01, "run": 5.0}})
    took = {"data": 0.5, "fit": 50.0, "run": 3.0}
    other = predicted("persim", [0.1], seed=1, made={"seconds": took})
    # A fit that outlived a kill, whose own cell left no row: what is known is how long it reads.
    read = predicted("persim", [0.1], seed=2, made={"seconds": {"fit": 0.01, "run": 2.0}})
    findings = Findings([first, again, other, read])
    # Agents differ between these cells' experiments, not between their fits.
    assert fit_seconds(findings) == {("cartpole", Variant("persim"), 100): [30.0, 50.0]}
    (table,) = time_tables(findings)
    assert table.rows[0][:3] == ("CartPole", "PerSim", "40 s ± 14 s")
    assert at(table, "prediction", "CartPole") == "2.0 s ± 1.0 s"
    assert at(table, "reward", "CartPole") == "5.0 s"
    assert at(table, "unseen", "CartPole") == "–"
