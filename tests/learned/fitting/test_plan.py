"""Which families a fit may use, from the method, the preset and the options."""

from __future__ import annotations

import pytest

from persim_gym.learned.fitting.plan import plan_fit


def test_networks_are_fitted_at_once_where_the_law_is_no_polynomial() -> None:
    assert plan_fit("half-cheetah", options={}).method == "sgd"
    assert plan_fit("half-cheetah", options={"degree": 1}).method == "als"
    assert set(plan_fit("half-cheetah", method="als", options={}).configs) == {"als"}
    assert plan_fit("cartpole", options={}).method == "auto"


def test_options_decide_the_method_and_cannot_be_of_both() -> None:
    assert plan_fit("plain", options={"degree": 2}).method == "als"
    assert plan_fit("plain", options={"epochs": 2}).method == "sgd"
    assert plan_fit("plain", options={"rank": 2}).method == "auto"
    with pytest.raises(ValueError, match=r"'epochs' is an option of networks.*'degree' one of the"):
        plan_fit("plain", options={"degree": 2, "epochs": 3})
    with pytest.raises(ValueError, match="unknown option 'epochs' of a closed-form fit"):
        plan_fit("plain", method="als", options={"epochs": 3})
    with pytest.raises(ValueError, match="unknown option 'degree' of a fit"):
        plan_fit("plain", method="sgd", options={"degree": 3})
