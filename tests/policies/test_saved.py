"""Policies on disk: what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.envs.suites import find_suite
from persim_gym.policies import shipped
from persim_gym.policies.saved import load_policy


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cartpole", "half-cheetah"])
def test_policies_whose_parts_do_not_fit_are_refused_when_they_are_loaded(
    task: str, tmp_path: Path
) -> None:
    """Signed anew, so that the checksum fits."""
    from persim_gym import store

    file = shipped.WEIGHTS / task / "test.safetensors"
    tensors, card = store.read(file, "policy")
    obs = np.zeros((2, *find_suite(task).task().observation_space.shape), np.float32)
    network, spaces = card["network"], card["spaces"]
    bad: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for name, tensor in tensors.items():
        others = (tensor[:-1], tensor[None], tensor.double(), tensor * torch.nan, tensor[:0])
        bad += [({**tensors, name: other}, card) for other in others]
    for key, values in {
        "widths": ([], [4], [10**12, 10**12], ["x"], None, [4, 0, 2]),
        "activation": ("sin", None, []),
        "head": ("other", None),
    }.items():
        bad += [(tensors, {**card, "network": {**network, key: value}}) for value in values]
    for key in ("observation", "action"):
        for value in (None, [], {}, {"n": 10**6, "start": 0}, {"low": ["0"], "high": ["1"]}):
            bad.append((tensors, {**card, "spaces": {**spaces, key: value}}))
    for parts, header in bad:
        store.write(tmp_path / "policy.safetensors", "policy", parts, header)
        with pytest.raises(ValueError, match=r"lacks what a policy needs|no sound policy"):
            load_policy(tmp_path)
    store.write(tmp_path / "policy.safetensors", "policy", tensors, card)
    assert len(load_policy(tmp_path).predict(obs)[0]) == 2
