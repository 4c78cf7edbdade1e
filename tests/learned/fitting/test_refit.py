"""A way of fitting, read back from a card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.config import CHOICE, ClosedForm, Networks
from persim_gym.learned.data import Data
from persim_gym.learned.fitting import fit
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.fitting.refit import plan_from, with_past_of, with_rank_of
from persim_gym.learned.geometry.geometry import Angle, Geometry
from tests.evaluation.validation.worlds import patients
from tests.learned.features.late_worlds import late_level
from tests.learned.fitting.panels import short_panel
from tests.learned.worlds import PlainTask


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("als", {"degree": 2, "rank": 3}),
        ("sgd", {"epochs": 3}),
        ("auto", {"effort": "quick", "seed": 5}),
        ("auto", {"rank": 2}),
    ],
)
def test_a_card_gives_its_plan_back(method: str, options: dict[str, object]) -> None:
    plan = plan_fit("patients", method=method, options=options, known=False)
    card = {"method": plan.method, "preset": plan.preset, "config": plan.to_json()}
    again = plan_from(json.loads(json.dumps(card)), "patients", known=False)
    assert again == plan


def test_a_family_that_was_chosen_is_taken_alone() -> None:
    plan = plan_fit("patients", options={}, known=False)
    card = {"method": "auto", "config": plan.to_json(), "fitted_by": "mixture"}
    card["metrics"] = {"weights": {"als": 0.2, "latent, lag 2": 0.8}}
    chosen = plan_from(card, "patients", known=False, chosen=True)
    assert chosen.method == "latent"
    assert set(chosen.configs) == {"latent"}
    assert set(plan_from(card, "patients", known=False).configs) == set(CHOICE)


def test_a_family_that_was_chosen_with_a_past_keeps_it() -> None:
    plan = plan_fit("patients", options={}, known=False)
    card = {"method": "auto", "config": plan.to_json(), "fitted_by": "latent"}
    card["metrics"] = {"past": {"lag": 3, "seen": [2]}}
    chosen = plan_from(json.loads(json.dumps(card)), "patients", known=False, chosen=True)
    assert (chosen.lag, chosen.configs["latent"].lag, chosen.configs["latent"].seen) == (3, 3, (2,))
    assert plan_from(card, "patients", known=False).lag is None


def test_networks_that_were_chosen_for_single_steps_are_fitted_so_again() -> None:
    plan = plan_fit("patients", options={}, known=False)
    card = {"method": "auto", "config": plan.to_json(), "fitted_by": "latent"}
    card["metrics"] = {"past": {"lag": 3, "seen": None, "window_steps": 0}}
    chosen = plan_from(json.loads(json.dumps(card)), "patients", known=False, chosen=True)
    assert chosen.configs["latent"].window_steps == 0


@pytest.mark.parametrize("weights", [None, {"als": 0.3, "linear": 0.3, "linear, lag 2": 0.4}])
def test_linear_models_that_were_chosen_are_fitted_again(
    weights: dict[str, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, or of a mixture."""
    chosen = fit._chosen
    monkeypatch.setattr(  # the lines alone, for networks take their time
        fit,
        "_chosen",
        lambda data, configs, *rest: chosen(
            data, {name: own for name, own in configs.items() if name.startswith("linear")}, *rest
        ),
    )
    sim = PerSim.fit(short_panel(12), task=PlainTask.of(1, actions=2), progress=False)
    card = json.loads(json.dumps(sim.card))
    assert card["method"] == "auto"
    if weights is not None:
        card |= {"fitted_by": "mixture", "metrics": card["metrics"] | {"weights": weights}}
    plan = plan_from(card, sim.task.name, known=False, chosen=True)
    ((method, config),) = plan.configs.items()
    assert (method, config.degree, config.lag) == ("hierarchical", 1, sim.lag)


@pytest.mark.parametrize("turning", [False, True])
@pytest.mark.parametrize("then", ["alone", "in a mixture", "without angles"])
def test_a_past_is_seen_where_its_columns_are_the_same(then: str, turning: bool) -> None:
    data = Data(patients(5, 20), PlainTask.of(2, action_dim=1))
    angle = Geometry(2, (), (Angle(1, 360.0),))
    data.geometry = angle if turning else Geometry(2)
    own = {} if then == "without angles" else {"geometry": angle.to_json()}
    metrics = {"parts": {"als": {}, "latent, lag 3": own}} if then == "in a mixture" else own
    plan = plan_fit("patients", method="latent", options={"lag": 3, "seen": (4,)}, known=False)
    found = with_past_of(plan, {"metrics": metrics}, data).configs["latent"]
    assert found.lag == 3
    assert found.seen == ((4,) if turning == (then != "without angles") else None)


def test_what_was_made_by_hand_can_not_be_fitted_again() -> None:
    with pytest.raises(ValueError, match="made by hand"):
        plan_from({"task": "x"}, "x", known=True)


def test_a_closed_form_has_no_more_rank_than_agents() -> None:
    plan = plan_fit("patients", method="als", options={"rank": 4, "degree": 1}, known=True)
    assert with_rank_of(plan, 1).configs["als"] == ClosedForm(rank=1, degree=1)
    networks = plan_fit("patients", method="sgd", options={"rank": 4}, known=True)
    assert isinstance(networks.configs["sgd"], Networks)
    assert with_rank_of(networks, 1) == networks


def test_refit_of_the_same_data_is_the_same_simulator() -> None:
    data = patients(5, 20)
    fit: dict[str, Any] = {"method": "hierarchical", "degree": 1, "ensemble_size": 1}
    sim = PerSim.fit(data, progress=False, **fit)
    again = sim.refit(data)
    asked = (data.agent, data.obs, data.action)
    np.testing.assert_array_equal(sim.predict(*asked), again.predict(*asked))
    fewer = sim.refit(data.select(data.step < 10))
    assert fewer.card["dataset"]["transitions"] == 50


@pytest.mark.slow
def test_an_action_that_acts_late_is_seen_by_the_chosen_family_when_fitted_again() -> None:
    data = late_level([3], agents=20, noise=0.02).transitions
    sim = PerSim.fit(data, effort="quick", progress=False)
    assert sim.card["metrics"]["past"]["lag"] == sim.lag > 1
    again = sim.refit(data, chosen=True)
    assert again.lag == sim.lag
    assert tuple(again.card["config"]["seen"]) == sim.card["metrics"]["past"]["seen"]
