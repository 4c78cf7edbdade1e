"""Populations: the paper's test agents, draws by a seed, own ranges, immutability, recipes."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest

from persim_gym.envs import SUITES, Covariate, CovariateTable, Population, Suite

# Section 5.1 of the paper.
TEST_AGENTS = {
    "mountain-car": [[0.0001], [0.0005], [0.001], [0.0025], [0.0035]],
    "cartpole": [[2, 0.5], [10, 0.5], [18, 0.5], [10, 0.85], [10, 0.15]],
    "half-cheetah": [[0.3, 1.7], [1.7, 0.3], [0.3, 0.3], [1.7, 1.7], [1, 1]],
}
RANGES = {
    "mountain-car": {"gravity": (0.0001, 0.0035)},
    "cartpole": {"force": (2, 18), "length": (0.15, 0.85)},
    "half-cheetah": {"mass": (0.2, 1.8), "damping": (0.2, 1.8)},
}
DEFAULTS = {
    "mountain-car": {"gravity": 0.0025},
    "cartpole": {"force": 10.0, "length": 0.5},
    "half-cheetah": {"mass": 1.0, "damping": 1.0},
}


def test_the_default_population_begins_with_the_papers_test_agents(suite: Suite) -> None:
    population = suite.population()
    assert len(population) == 500
    assert population.values[:5].tolist() == TEST_AGENTS[suite.name]
    assert population.names == tuple(RANGES[suite.name])


def test_the_others_are_uniform_in_the_papers_ranges(suite: Suite) -> None:
    population = suite.population()
    assert len(np.unique(population.values[5:], axis=0)) == 495
    for name, (low, high) in RANGES[suite.name].items():
        column = population.column(name)
        assert column.min() >= low
        assert column.max() <= high
        # A quarter of 495 draws in each quarter of the range, give or take four deviations.
        counts, _ = np.histogram(column[5:], bins=4, range=(low, high))
        assert counts.sum() == 495
        assert (abs(counts - 495 / 4) < 4 * np.sqrt(495 * 3 / 16)).all()
    if len(population.names) == 2:
        assert abs(np.corrcoef(population.values[5:].T)[0, 1]) < 0.2


def test_defaults_are_the_unmodified_environment(suite: Suite) -> None:
    assert suite.covariates.defaults == DEFAULTS[suite.name]


@pytest.mark.parametrize("size", [1, 3, 5, 6, 77, 500])
def test_a_smaller_population_is_the_beginning_of_a_larger(suite: Suite, size: int) -> None:
    small, large = (
        suite.population({"size": size, "seed": 2}),
        suite.population({"size": 600, "seed": 2}),
    )
    assert len(small) == size
    np.testing.assert_array_equal(small.values, large.values[:size])
    assert suite.population(size) == suite.population({"size": size})


def test_a_seed_decides_the_draws(suite: Suite) -> None:
    assert suite.population({"seed": 0}) == suite.population()
    other = suite.population({"seed": 1})
    np.testing.assert_array_equal(other.values[:5], suite.population().values[:5])
    assert (other.values[5:] != suite.population().values[5:]).all()


def test_draws_touch_no_global_random_state(suite: Suite) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    suite.population({"seed": 3})
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_own_ranges_have_no_test_agents(suite: Suite) -> None:
    name, *rest = RANGES[suite.name]
    low, high = suite.covariates.columns[0].high, 3 * suite.covariates.columns[0].high
    population = suite.population({"size": 50, "seed": 1, "ranges": {name: (low, high)}})
    column = population.column(name)
    assert (column >= low).all()
    assert (column <= high).all()
    assert column.max() > low + 0.8 * (high - low)
    for other in rest:  # what is not given keeps the paper's range
        assert (population.column(other) >= RANGES[suite.name][other][0]).all()
        assert (population.column(other) <= RANGES[suite.name][other][1]).all()
        assert np.ptp(population.column(other)) > 0
    assert (suite.population({"size": 4, "ranges": {name: (low, low)}}).column(name) == low).all()


def test_agents_written_out(suite: Suite) -> None:
    name, *rest = RANGES[suite.name]
    middle = np.mean(RANGES[suite.name][name])
    population = suite.population({"covariates": {name: [middle, 2 * middle, 9 * middle]}})
    assert population.column(name).tolist() == [middle, 2 * middle, 9 * middle]
    for other in rest:
        assert population.column(other).tolist() == [DEFAULTS[suite.name][other]] * 3
    assert len(suite.population({"covariates": {name: middle}})) == 1
    assert suite.population({"covariates": {}}).covariates(0) == DEFAULTS[suite.name]


def test_covariates_of_an_agent_are_plain_floats(suite: Suite) -> None:
    covariates = suite.population().covariates(np.int64(2))
    assert covariates == dict(zip(RANGES[suite.name], TEST_AGENTS[suite.name][2], strict=True))
    assert {type(value) for value in covariates.values()} == {float}


def copies(population: Population) -> list[Population]:
    return [
        population,
        copy.copy(population),
        copy.deepcopy(population),
        pickle.loads(pickle.dumps(population)),
    ]


def test_nothing_can_be_changed(suite: Suite) -> None:
    for population in copies(suite.population({"size": 8, "seed": 5})):
        before = population.values.copy()
        with pytest.raises(ValueError, match="read-only"):
            population.values[0, 0] = 1.0
        with pytest.raises(ValueError, match="read-only"):
            population.column(population.names[0])[0] = 1.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            population.values = before
        population.covariates(0)[population.names[0]] = 9.0
        np.testing.assert_array_equal(population.values, before)


def test_the_values_are_ones_own(suite: Suite) -> None:
    given = np.full((2, len(suite.covariates.names)), 0.5)
    population = Population(suite.covariates.names, given)
    given[:] = 7.0
    assert (population.values == 0.5).all()


def test_a_recipe_given_out_is_a_copy(suite: Suite) -> None:
    name = suite.covariates.names[0]
    population = suite.population({"size": 3, "ranges": {name: (0.5, 0.6)}})
    plain = population.to_json()
    plain["size"] = 9
    plain["ranges"][name][0] = 0.1
    assert population.to_json() == {"size": 3, "seed": 0, "ranges": {name: [0.5, 0.6]}}


def test_equality(suite: Suite) -> None:
    population = suite.population(8)
    for twin in copies(population):
        assert twin == population
        assert twin.to_json() == population.to_json()
    assert population == suite.population({"covariates": {
        name: population.column(name) for name in population.names
    }})  # fmt: skip
    assert population != suite.population(9)
    assert population != suite.population({"size": 8, "seed": 1})
    assert population != Population(
        tuple(f"other {n}" for n in population.names), population.values
    )
    assert population != population.values.tolist()
    with pytest.raises(TypeError, match="unhashable"):
        hash(population)


@pytest.mark.parametrize(
    "source",
    [
        None,
        7,
        np.int64(7),
        {"size": np.int64(7), "seed": np.uint8(3)},
        {"size": 7, "ranges": "own"},
        {"covariates": "own"},
        "single",
        "bare",
    ],
    ids=str,
)
def test_a_recipe_survives_json(suite: Suite, source: Any) -> None:
    name = suite.covariates.names[0]
    low, high = RANGES[suite.name][name]
    if source == "single":
        population = Population.single(suite.covariates, {name: np.float32((low + high) / 2)})
    elif source == "bare":
        rows = np.array(TEST_AGENTS[suite.name])
        population = Population(suite.covariates.names, rows)
    else:
        if isinstance(source, dict):
            own = {"ranges": {name: (np.float64(low), high)}, "covariates": {name: (low, high)}}
            source = {k: own[k] if v == "own" else v for k, v in source.items()}
        population = suite.population(source)
    again = suite.population(json.loads(json.dumps(population.to_json())))
    assert again == population
    assert again.to_json() == population.to_json()


def test_a_single_agent(suite: Suite) -> None:
    column = suite.covariates.columns[0]
    population = Population.single(suite.covariates, {column.name: column.low})
    assert len(population) == 1
    assert population.covariates(0) == {**DEFAULTS[suite.name], column.name: column.low}


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (0, ValueError, "size of a population must be at least 1, got 0"),
        (-3, ValueError, "size of a population must be at least 1, got -3"),
        ({"size": 2.5}, TypeError, r"size of a population must be an integer, got 2\.5"),
        ({"size": True}, TypeError, "size of a population must be an integer"),
        ({"size": "all"}, TypeError, "size of a population must be an integer"),
        ({"size": None}, TypeError, "size of a population must be an integer"),
        ({"seed": -1}, ValueError, "seed of a population must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "seed of a population must be an integer"),
        ({"seed": None}, TypeError, "seed of a population must be an integer"),
        ({"agents": 5}, ValueError, "unknown entry 'agents' in population: it takes size, seed"),
        ({"ranges": {"wind": (1, 2)}}, ValueError, "unknown covariate 'wind': this task has"),
        ({"ranges": [1, 2]}, TypeError, "ranges must be a mapping"),
        ({"covariates": {"wind": [1.0]}}, ValueError, "unknown covariate 'wind'"),
        ({"covariates": [1.0]}, TypeError, "covariates must be a mapping"),
        ({"covariates": {}, "size": 3}, ValueError, "unknown entry 'covariates'"),
        (True, TypeError, "population must be a size, a mapping"),
        (3.0, TypeError, "population must be a size, a mapping"),
        ("all", TypeError, "population must be a size, a mapping"),
        ([3], TypeError, "population must be a size, a mapping"),
    ],
    ids=str,
)
def test_a_bad_population_is_refused(
    suite: Suite, source: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        suite.population(source)


@pytest.mark.parametrize(
    "pair",
    [(2, 1), (0, 1), (-1, 1), (1,), (1, 2, 3), 1.0, "ab", (1, np.inf), (np.nan, 1), None, ("a", 1)],
    ids=str,
)
def test_a_bad_range_is_refused(suite: Suite, pair: Any) -> None:
    name = suite.covariates.names[0]
    with pytest.raises(ValueError, match=f"the range of '{name}' must be two finite positive"):
        suite.population({"ranges": {name: pair}})


@pytest.mark.parametrize(
    "values", [[1.0, -1.0], [0.0], [np.nan], [np.inf], ["a"], [], [[1.0], [2]]]
)
def test_bad_covariates_are_refused(suite: Suite, values: Any) -> None:
    with pytest.raises(ValueError, match="population"):
        suite.population({"covariates": {suite.covariates.names[0]: values}})


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="as many of each"):
        SUITES["cartpole"].population({"covariates": {"force": [1, 2], "length": [1, 2, 3]}})
    with pytest.raises(ValueError, match=r"shape \[agents, 2\].*got \(1, 3\)"):
        Population(("force", "length"), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("agent", "error"),
    [(500, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)],
    ids=str,
)
def test_an_agent_that_does_not_exist(suite: Suite, agent: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="agent"):
        suite.population().covariates(agent)


def test_a_table_of_ones_own() -> None:
    table = CovariateTable((Covariate("wind", 1.0, 0.5, 2.0, "speed, m/s"),), ((0.5,), (2.0,)))
    population = Population.sample(table, size=4, seed=3)
    assert population.values[:2, 0].tolist() == [0.5, 2.0]
    assert table.complete({}) == {"wind": 1.0}


def test_an_end_of_the_range_in_single_precision_is_that_end() -> None:
    population = Population.single(
        SUITES["mountain-car"].covariates, {"gravity": np.float32(0.0035)}
    )
    assert population.covariates(0) == {"gravity": 0.0035}
    with pytest.raises(ValueError, match="out of its range"):
        Population.single(SUITES["mountain-car"].covariates, {"gravity": 0.00351})
    with pytest.raises(ValueError, match="out of its range"):
        Population.single(SUITES["mountain-car"].covariates, {"gravity": float("nan")})
