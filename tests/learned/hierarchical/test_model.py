"""Members of a hierarchical regression."""

from __future__ import annotations

import pytest
import torch

from persim_gym.learned.hierarchical.fit import fit_hierarchical
from persim_gym.learned.hierarchical.model import HierarchicalModel
from tests.learned.hierarchical.quadratics import World


def test_a_model_is_kept_moved_and_given_other_factors() -> None:
    world = World(6)
    model = fit_hierarchical(*world.record(30), 6, members=3).model
    again = HierarchicalModel.from_parts(model.tensors(), model.meta())
    who, z = torch.arange(6), torch.rand(6, 2, dtype=torch.float64)
    found = model.change(who, z)
    assert found.shape == (3, 6, 2)
    torch.testing.assert_close(again.change(who, z), found, rtol=0, atol=0)
    single = model.to("cpu", torch.float32).change(who, z.float())
    torch.testing.assert_close(single.double(), found, atol=1e-4, rtol=1e-4)
    turned = model.with_factors(model.factors.flip(1))
    torch.testing.assert_close(turned.change(who.flip(0), z), found)
    # Linear in the factors, which is what adaptation needs; each member from inputs of its own.
    design = model.design(z)
    assert design.shape == (3, 6, 2, model.rank)
    torch.testing.assert_close((design * model.factors[:, :, None]).sum(-1), found)
    torch.testing.assert_close(model.change(who, z.expand(3, 6, 2)), found)
    # Many rows of few agents go another way, with the same result.
    many = torch.rand(200, 2, dtype=torch.float64)
    of = torch.arange(200) % 2
    one = torch.cat([model.change(a[None], row[None]) for a, row in zip(of, many, strict=True)], 1)
    torch.testing.assert_close(model.change(of, many), one)
    with pytest.raises(ValueError, match="not of the same model"):
        HierarchicalModel.from_parts(model.tensors(), {"terms": 5, "outputs": 2})


def test_far_from_the_record_changes_stay_in_bounds() -> None:
    world = World(10)
    z, y, agent = world.record(40)
    model = fit_hierarchical(z, y, agent, 10).model
    far = model.change(torch.arange(10), torch.full((10, 2), 1e6, dtype=torch.float64))
    width = y.max(0) - y.min(0)
    assert (far.numpy() <= y.max(0) + width + 1e-9).all()
    assert (far.numpy() >= y.min(0) - width - 1e-9).all()
