"""Quick regressions by which pasts are judged."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.learned.features.ensemble import LinearModel
from persim_gym.learned.features.ridge import Ridge, basis_of, terms_of


def test_the_model_that_judges_lags_is_linear() -> None:
    rng = np.random.default_rng(0)
    features, change = (torch.as_tensor(rng.normal(size=(90, k))) for k in (4, 2))
    agents = torch.arange(90) % 3
    model = Ridge.fitted(features, change, agents, [0, 1], 1.0)
    assert isinstance(model, LinearModel)
    expected = model.change(agents, features)
    own = model.factors[:, agents]
    linear = torch.einsum("mncr,mnr->mnc", model.design(features), own) + model.offset()
    assert torch.allclose(linear, expected)
    bound = model.bind(torch.arange(3))(features.view(30, 3, 4).transpose(0, 1)[None])
    assert torch.allclose(bound[0].transpose(0, 1).reshape(90, 2), expected[0])


def test_terms_say_what_they_are_made_of() -> None:
    features, present = torch.rand(5, 4, dtype=torch.float64), [0, 2]
    basis, terms = basis_of(features, present), terms_of(4, present)
    assert basis.shape[1] == len(terms)
    for column, term in enumerate(terms):
        torch.testing.assert_close(basis[:, column], features[:, list(term)].prod(1))
