"""Fits of these tests have several blocks, however short they are."""

from __future__ import annotations

import pytest

from persim_gym.baselines import cloning, policy_search, tianshou_fit
from persim_gym.baselines.context import fit as context_fit
from persim_gym.baselines.sfbc import optimise
from persim_gym.planning import planner_choice
from persim_gym.planning.shooting import RandomShooting


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tianshou_fit, "BLOCK", 10)
    monkeypatch.setattr(cloning, "BLOCK", 10)
    monkeypatch.setattr(optimise, "UPDATES", 10)
    monkeypatch.setattr(context_fit, "BLOCK", 10)
    monkeypatch.setattr(policy_search, "ROLLOUT", 4)
    monkeypatch.setattr(policy_search, "ROLLOUTS", 2)
    monkeypatch.setitem(planner_choice._KINDS, "shooting", lambda: RandomShooting(8, 3))
