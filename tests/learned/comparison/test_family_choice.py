"""Candidates compared on stretches that they have not seen, and mixed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned.comparison.family_choice import Candidate, compare
from persim_gym.learned.comparison.holdout import held_out
from tests.learned.comparison.records import Known, of, record


def test_the_best_is_found_and_fitted_again_to_everything() -> None:
    data = record(90)
    seen: list[int] = []
    again: list[Any] = []

    def fit(rows: NDArray[np.int64]) -> Known:
        seen.append(len(rows))
        return Known()

    def refit(chosen: Any, rows: NDArray[np.int64]) -> Any:
        again.append((chosen, len(rows)))
        return chosen

    exact = Candidate(fit, refit)
    candidates = {"wrong": of(Known(0.1)), "exact": exact, "nothing": of(Known(1.0))}
    found = compare(data, candidates)
    assert found.winner == "exact"
    assert found.weights == {"exact": 1.0}
    assert found.horizons == (1, 10, 30)  # as long as the stretches are
    order = sorted(found.scores, key=lambda name: found.scores[name].score)
    assert order[:3] == ["exact", "wrong", "nothing"]
    assert seen == [20 * 60]
    assert found.refit(candidates, len(data.agent)) == {"exact": found.fitted["exact"]}
    assert again == [(found.fitted["exact"], len(data.agent))]


def test_open_loop_decides_and_not_one_step() -> None:
    data = record(200)
    drifting, noisy = Known(drift=0.003), Known(wrong=0.004)
    one = compare(data, {"drifting": of(drifting), "noisy": of(noisy)}, horizons=(1,), mix=False)
    many = compare(data, {"drifting": of(drifting), "noisy": of(noisy)}, mix=False)
    assert one.scores["drifting"].median[1] == pytest.approx(many.scores["drifting"].median[1])
    assert many.scores["drifting"].median[50] > many.scores["noisy"].median[50]
    assert many.winner == "noisy"


def test_errors_are_in_units_of_the_observations() -> None:
    data = record(100)
    found = compare(data, {"drift": of(Known(drift=0.1))}, horizons=(1,))
    assert found.scores["drift"].median[1] == pytest.approx(0.1 / data.unit[0])
    assert found.scores["drift"].ninth_decile[1] == pytest.approx(0.1 / data.unit[0])


def test_one_that_runs_away_is_taken_only_where_all_others_are_much_worse() -> None:
    class Leaving(Known):
        """Right for as long as stretches are, and gone afterwards."""

        def rollout(self, agents: Any, states: NDArray[Any], actions: NDArray[Any]) -> Any:
            found = super().rollout(agents, states, actions)
            found[:, 70:] = 1e9
            return found

    data = record(100)
    found = compare(data, {"leaving": of(Leaving(0.02)), "stays": of(Known(0.05))})
    assert found.scores["leaving"].escapes == 1.0
    assert found.scores["stays"].escapes == 0.0
    assert found.winner == "stays"
    assert compare(data, {"leaving": of(Leaving()), "stays": of(Known(0.5))}).winner == "leaving"


def test_one_that_fails_is_noted_and_others_go_on() -> None:
    def failing(rows: NDArray[np.int64]) -> Any:
        raise FloatingPointError("beyond repair")

    class Lost(Known):
        def rollout(self, agents: Any, states: NDArray[Any], actions: NDArray[Any]) -> Any:
            return np.full((*actions.shape[:2], 1), np.nan)

    data = record(60)
    candidates = {"fails": Candidate(failing), "lost": of(Lost()), "plain": of(Known(0.1))}
    found = compare(data, candidates)
    assert found.winner == "plain"
    assert found.notes == ("fails could not be fitted: beyond repair",)
    assert list(found.refit(candidates, len(data.agent))) == ["plain"]
    plain = [score.to_json() for score in found.scores.values()]
    assert plain[0]["failed"] == "beyond repair"
    assert np.isfinite(plain[1]["score"])
    with pytest.raises(ValueError, match="no candidate could be fitted: beyond repair"):
        compare(data, {"fails": Candidate(failing)})


@pytest.mark.parametrize("needed", [True, False])
def test_one_that_is_needed_only_beside_another_is_tried_by_what_came_of_that(needed: bool) -> None:
    data, seen = record(60), list[int]()

    def asked(fits: Any) -> bool:
        seen.append(len(fits))
        return needed

    second = dataclasses.replace(of(Known(0.01)), like="first", needed=asked)
    found = compare(data, {"first": of(Known(0.1)), "second": second}, mix=False)
    assert seen == [1]
    assert found.winner == ("second" if needed else "first")
    assert set(found.scores) == ({"first", "second"} if needed else {"first"})


def test_of_those_that_are_alike_but_for_the_fit_one_is_kept() -> None:
    """Errors of the two that are opposite would make the best mixture."""
    data = record(60)
    for more, best in ((0.02, "first"), (-0.02, "second")):
        pair = {"first": of(Known(drift=0.05)), "second": of(Known(drift=-0.05 - more))}
        assert set(compare(data, pair).weights) == {"first", "second"}
        pair["second"] = dataclasses.replace(pair["second"], like="first")
        found = compare(data, pair)
        assert found.weights == {best: 1.0}
        assert set(found.scores) == {"first", "second"}


def polynomial(wrong: float, drift: float = 0.0) -> Candidate:
    return dataclasses.replace(of(Known(wrong, drift)), further=True)


def test_of_close_ones_what_is_nearly_the_law_is_taken() -> None:
    data = record(90)
    near = compare(data, {"network": of(Known(0.0010)), "polynomial": polynomial(0.0011)})
    assert near.weights == {"polynomial": 1.0}
    assert near.scores["network"].score < near.scores["polynomial"].score
    worse = compare(data, {"network": of(Known(0.0010)), "polynomial": polynomial(0.0015)})
    assert worse.winner == "network"
    rough = compare(data, {"network": of(Known(0.011)), "polynomial": polynomial(0.010)})
    assert rough.weights == {"network": 1.0}, "an approximation runs away"
    # A network has a part beside a polynomial where the mixture is much better, not where a little.
    for drift, mixed in ((0.003, True), (0.0012, False)):
        both = {"polynomial": polynomial(0.01, drift), "network": of(Known(0.01, -drift))}
        assert (len(compare(data, both).weights) == 2) is mixed
        alike = {name: dataclasses.replace(own, further=True) for name, own in both.items()}
        assert len(compare(data, alike).weights) == 2


def test_of_what_is_far_from_the_law_the_better_is_taken() -> None:
    data = record(90)
    assert compare(data, {"network": of(Known(0.10)), "polynomial": polynomial(0.11)}).weights == {
        "network": 1.0
    }
    # Beside a network, too, what goes on beyond the record has a part only where it gains much.
    for drift, mixed in ((0.03, True), (0.012, False)):
        both = {"polynomial": polynomial(0.1, drift), "network": of(Known(0.1, -drift))}
        assert (len(compare(data, both).weights) == 2) is mixed
        alike = {name: dataclasses.replace(own, further=False) for name, own in both.items()}
        assert len(compare(data, alike).weights) == 2


def test_of_short_records_the_stability_is_not_asked_for_long_after_them() -> None:
    class Growing(Known):
        """Right for as long as records are, and out of their range long afterwards."""

        def rollout(self, agents: Any, states: NDArray[Any], actions: NDArray[Any]) -> Any:
            found = super().rollout(agents, states, actions)
            found[:, 45:] = 1e9
            return found

    candidates = {"growing": of(Growing(0.02)), "stays": of(Known(0.03))}
    assert compare(record(10), candidates).winner == "growing"
    assert compare(record(40), candidates).winner == "stays"


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        compare(record(40), {})
    with pytest.raises(ValueError, match="no agent has two transitions"):
        compare(record(1), {"exact": of(Known())})
    short = compare(record(2), {"exact": of(Known()), "nothing": of(Known(1.0))})
    assert short.winner == "exact"


@pytest.mark.parametrize("steps", [12, 90])
def test_of_short_records_what_is_plain_is_taken_unless_another_is_surely_better(
    steps: int,
) -> None:
    """Surely: for nearly all agents, in each part that is held out."""
    data = record(steps)

    def taken(other: Candidate) -> str:
        plain = dataclasses.replace(of(Known(drift=0.02)), plain=True)
        return compare(data, {"plain": plain, "other": other}, mix=False).winner

    assert taken(of(Known(drift=0.018))) == "other"  # of all agents
    assert taken(of(Known(drift=0.01))) == "other"
    before = [len(part.rows) for part in held_out(data, np.random.default_rng(0))]

    def of_the_end(rows: NDArray[np.int64]) -> Known:
        """Only an end that is predicted from little shows that it is no better."""
        return Known(drift=0.018 if len(rows) in before else 0.05)

    assert taken(Candidate(of_the_end)) == ("plain" if steps < 30 else "other")

    def of_much(rows: NDArray[np.int64]) -> Known:
        if len(rows) not in before:
            raise ValueError("too few")
        return Known(drift=0.018)

    assert taken(Candidate(of_much)) == ("plain" if steps < 30 else "other")


@pytest.mark.parametrize("steps", [12, 90])
def test_what_is_slow_is_fitted_to_all_parts_only_if_it_may_be_surely_better(steps: int) -> None:
    data = record(steps)
    plain = dataclasses.replace(of(Known(drift=0.02)), plain=True)
    fitted: list[int] = []

    def slow(drift: float) -> Candidate:
        def fit(rows: NDArray[np.int64]) -> Known:
            fitted.append(len(rows))
            return Known(drift=drift)

        return Candidate(fit, slow=True)

    parts = len(held_out(data, np.random.default_rng(0)))
    worse = compare(data, {"slow": slow(0.03), "plain": plain}, mix=False)
    assert worse.winner == "plain"
    assert len(fitted) == 1
    assert ("failed" in worse.scores["slow"].to_json()) == (parts > 1)
    assert worse.notes == ()  # nothing is wrong with it

    fitted.clear()
    better = compare(data, {"slow": slow(0.01), "plain": plain}, mix=False)
    assert better.winner == "slow"
    assert list(better.scores) == ["slow", "plain"]
    assert len(fitted) == parts


def test_where_noise_hides_little_what_is_slow_is_compared_on_all_parts() -> None:
    """Nothing plain is taken there, so that it has nothing to leave out."""
    data = record(12)
    parts = held_out(data, np.random.default_rng(0))
    first = len(parts[0].rows)

    def slow(rows: NDArray[np.int64]) -> Known:
        return Known(drift=4e-4 if len(rows) == first else 1e-4)

    candidates = {
        "slow": Candidate(slow, slow=True),
        "plain": dataclasses.replace(of(Known(drift=3e-4)), plain=True),
        "other": of(Known(drift=1e-3)),
    }
    found = compare(data, candidates, mix=False)
    assert len(found.fits["slow"]) == len(parts) > 1
    assert found.winner == "slow"
