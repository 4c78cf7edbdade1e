"""Fits that are killed go on, whatever family they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.latent import fit as latent_fit
from persim_gym.learned.saving.checkpoint import Checkpoint, checkpoints_beside
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_walks

SIZES = {"first_steps": 40, "steps": 40, "window_steps": 20, "hidden": (8,), "latent": 2}


class _Killed(BaseException):
    pass


def _fit(walks: Transitions, out: Path | None = None, **options: Any) -> PerSim:
    task = PlainTask.of(2, actions=3)
    return PerSim.fit(walks, task=task, out=out, save_every=0.0, progress=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_fit_of_latents_ends_as_one_that_was_not(
    walks: Transitions, tmp_path: Path, kill_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _fit(walks, method="latent", ensemble_size=1, **SIZES)
    saved, save = 0, Checkpoint.save

    def dying(self: Checkpoint, tensors: Any, facts: Any) -> None:
        nonlocal saved
        save(self, tensors, facts)
        saved += 1
        if saved == kill_after:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", dying)
        with pytest.raises(_Killed):
            _fit(walks, tmp_path, method="latent", ensemble_size=1, **SIZES)
    assert len(checkpoints_beside(tmp_path / "checkpoint.safetensors")) == 1

    begun: list[Any] = []
    run = latent_fit._Fit.run
    monkeypatch.setattr(
        latent_fit._Fit, "run", lambda self, resume: (begun.append(resume), run(self, resume))[1]
    )
    resumed = _fit(walks, tmp_path, method="latent", ensemble_size=1, **SIZES)
    assert begun[0] is not None
    obs = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    rows = np.arange(4), obs, np.arange(4) % 3
    assert np.array_equal(whole.predict_members(*rows), resumed.predict_members(*rows))
    assert checkpoints_beside(tmp_path / "checkpoint.safetensors") == []


def test_a_fit_that_diverges_leaves_no_checkpoint(tmp_path: Path) -> None:
    walks, file = random_walks(PlainTask.of(2, actions=3)), tmp_path / "checkpoint.safetensors"
    there: list[bool] = []

    def diverge(now: Any) -> None:
        there.append(bool(checkpoints_beside(file)))
        if now.epoch == 3:
            raise FloatingPointError

    options = {"method": "sgd", "epochs": 4, "ensemble_size": 1}
    with pytest.raises(FloatingPointError):
        _fit(walks, tmp_path, on_epoch=diverge, **options)
    assert there[-1]
    assert checkpoints_beside(file) == []


def test_parts_of_a_fit_do_not_share_a_file(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "checkpoint.safetensors", {"a": 1})
    one, two = first.part("one"), first.part("two")
    one.save({}, {"epoch": 1})
    two.save({}, {"epoch": 2})
    assert first.load() is None
    assert one.load() == ({}, {"epoch": 1})
    assert two.load() == ({}, {"epoch": 2})
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        Checkpoint(one.path, {"a": 2}).load()
    first.discard()
    assert not list(tmp_path.iterdir())
