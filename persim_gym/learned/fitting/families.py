"""The families of models: each from data to members, on all transitions or without some of them.

*Closed form*: the low-rank model in a polynomial basis. *Networks*: the paper's, by gradient
descent. *Hierarchical*: each agent's own polynomial under a population's prior. *Latent*: networks
that an agent's latent enters nonlinearly. Whatever they are made of, what comes out is an
:class:`~persim_gym.learned.ensemble.Ensemble` of the user's coordinates.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.bounds import cutting_bounds, learn_bounds, mark_resets
from persim_gym.learned.closed_form.fit import fit_closed_form
from persim_gym.learned.closed_form.problem import pose
from persim_gym.learned.config import ClosedForm, Hierarchical, Latent, Networks
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.features.charted import ChartedEnsemble, charted
from persim_gym.learned.features.ensemble import FrameEnsemble, Model
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.fitting.feature_maps import feature_map_of
from persim_gym.learned.fitting.progress import FitReport
from persim_gym.learned.hierarchical.fit import fit_hierarchical
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.fit import LatentSnapshot, fit_latent
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.networks.network import LowRankNetwork
from persim_gym.learned.networks.optimise import Snapshot, fit_network
from persim_gym.learned.networks.preparation import prepare
from persim_gym.learned.saving.checkpoint import Checkpoint
from persim_gym.learned.uncertainty.intervals import Unseen

#: Transitions that are left out of a fit ``[T]``; ``None`` for none.
Without = NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit has found.

    Attributes:
        method: Name of the family, or ``"mixture"``.
        ensemble: The members.
        metrics: What is kept in the simulator's card.
        noise: Of a closed form: variance of what is left, in inner coordinates ``[m, c]``.
        unseen: A like fit that a part of the data was kept from.
        again: One that a short stretch of each agent was kept from, where such a fit is quick.
    """

    method: str
    ensemble: Ensemble
    metrics: dict[str, Any]
    noise: Tensor | None = None
    unseen: Unseen | None = None
    again: Unseen | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a fit runs, and what hears of its progress.

    Attributes:
        device: Where to compute.
        report: Called with progress.
        checkpoint: Where an interrupted fit goes on.
        save_every: Seconds between checkpoints.
        doing: What the fits are for, as a bar says it.
    """

    device: torch.device
    report: FitReport
    checkpoint: Checkpoint | None = None
    save_every: float = 30.0
    doing: str = "fit"

    def checkpoint_of(self, config: Any, without: Without) -> Checkpoint | None:
        """Where a family's fit to a part of the data goes on."""
        if self.checkpoint is None or (without is None and isinstance(config, Networks)):
            return self.checkpoint
        what = hashlib.sha256(json.dumps(config.to_json(), sort_keys=True).encode())
        what.update(b"" if without is None else np.packbits(without).tobytes())
        return self.checkpoint.part(what.hexdigest()[:12])


def in_inner_coordinates(fit: Callable[[Data], Fitted], data: Data) -> Fitted:
    """Fit data with their angles as angles, and give an ensemble of their observations.

    Args:
        fit: The fit of data without angles in disguise.
        data: The data.
    """
    geometry = data.geometry
    if geometry.trivial:
        return fit(data)
    found = fit(charted(data, geometry))
    space = data.task.observation_space
    bounds = (torch.as_tensor(end.copy()) for end in (space.low, space.high))
    found.metrics["geometry"] = geometry.to_json()
    return replace(found, ensemble=ChartedEnsemble(found.ensemble, geometry, *bounds))


def fit_als(data: Data, config: ClosedForm, setting: Setting, without: Without = None) -> Fitted:
    """Fit in closed form; of data without angles in disguise."""
    device, report = setting.device, setting.report
    began = time.perf_counter()
    clipped = data.clipped if config.skip_clipped else np.zeros_like(data.clipped)
    used = ~clipped if without is None else ~clipped & ~without
    data.check_left(used)
    states = data.states(config.lag)
    problem = pose(data.transitions, data.task, states, used, config.lag, device)
    found = fit_closed_form(problem, config, report.on_trial, report.on_share)
    for text in found.choice.lowered if without is None else ():
        warnings.warn(text, UserWarning, stacklevel=2)
    ensemble: Ensemble = found.ensemble
    if config.skip_clipped:
        seen = clipped if without is None else clipped & ~without
        ensemble = with_bounds(ensemble, data, states, seen, torch.float64)
    best = found.choice.best
    metrics = {
        "heldout_rmse": best.one_step,
        "heldout_error": best.error,
        "unexplained": float(found.noise.mean()),
        "chosen": best.to_json(),
        "trials": [trial.to_json() for trial in found.choice.trials],
        "notes": list(found.choice.notes),
        "noise": found.noise.mean(0).sqrt().tolist(),
        "seconds": time.perf_counter() - began,
    }
    noise = found.noise * problem.scale.square()
    return Fitted("als", ensemble.to(device, torch.float32), metrics, noise)


def fit_networks(data: Data, config: Networks, setting: Setting, without: Without = None) -> Fitted:
    """Fit the paper's networks by gradient descent; of data without angles in disguise."""
    device, report = setting.device, setting.report
    checkpoint = setting.checkpoint_of(config, without)
    ready = prepare(data, config, without)
    kept = checkpoint.load() if checkpoint is not None else None
    network = LowRankNetwork.initial(ready.shape, ready.generator(config.seed), device)
    scaling = ready.scaling.to(device)

    def heldout_rmse(fitted: LowRankNetwork) -> float:
        return one_step_rmse(NetworkEnsemble(fitted, scaling), data, ready.states, ready.held)

    fitted, last = fit_network(
        network,
        ready.training_data(device),
        config,
        resume=Snapshot(**(kept[1] | kept[0])) if kept is not None else None,
        heldout_rmse=heldout_rmse if ready.held.any() else None,
        on_epoch=report.on_epoch,
        save=None
        if checkpoint is None
        else lambda now: checkpoint.save(now.tensors(), now.facts()),
        save_every=setting.save_every,
    )
    best = sorted(np.argsort(last.loss)[: config.ensemble_size].tolist())
    ensemble: Ensemble = NetworkEnsemble(fitted.members(best), scaling)
    if config.skip_clipped:
        seen = data.clipped & ~ready.held
        seen = seen if without is None else seen & ~without
        ensemble = with_bounds(ensemble, data, ready.states, seen, torch.float32)
    metrics = {
        "loss": [last.loss[member] for member in best],
        "heldout_rmse": one_step_rmse(ensemble, data, ready.states, ready.held)
        if ready.held.any()
        else None,
        "heldout_transitions": int(ready.held.sum()),
        "seconds": last.seconds,
    }
    return Fitted("sgd", ensemble, metrics)


def fit_hierarchy(
    data: Data, config: Hierarchical, setting: Setting, without: Without = None
) -> Fitted:
    """Fit each agent's own polynomial under a population's prior."""
    began = time.perf_counter()
    rows = _Rows.of(data, config, without)
    found = fit_hierarchical(
        *rows.arrays(rows.rows), torch.as_tensor(rows.agents), rows.num_agents,
        degree=config.degree, members=config.ensemble_size, effort=config.effort,
        seed=config.seed, present=rows.frame.present,
    )  # fmt: skip
    metrics = {
        "heldout_rmse": None,
        "chosen": {"degree": found.degree, "tails": found.tails, "terms": len(found.model.basis)},
        "trials": list(found.trials),
        "notes": list(found.notes),
        "seconds": time.perf_counter() - began,
    }
    return rows.fitted("hierarchical", found.model, metrics, setting.device)


def fit_latents(data: Data, config: Latent, setting: Setting, without: Without = None) -> Fitted:
    """Fit networks that each agent's latent enters nonlinearly."""
    began = time.perf_counter()
    rows = _Rows.of(data, replace(config, skip_clipped=False), without)
    ends = cutting_bounds(data.task) if config.skip_clipped and data.clipped.any() else None
    if ends is not None:
        next_obs, frame = data.transitions.next_obs, rows.frame
        cut = frame.cut(next_obs, *ends)
        if frame.geometry.trivial:  # effects of bounds are of observations as they are
            mark_resets(cut, next_obs, frame.unit.numpy())
        clipped: NDArray[np.bool_] = np.any(cut > 1, axis=1)
        rows = replace(rows, cut=cut, clipped=clipped if without is None else clipped & ~without)
    checkpoint = setting.checkpoint_of(config, without)
    kept = checkpoint.load() if checkpoint is not None else None
    windows: list[bool] = []
    network = fit_latent(
        rows,
        config,
        frame=feature_map_of(rows.frame, ends),
        resume=LatentSnapshot(tensors=kept[0], **kept[1]) if kept is not None else None,
        on_epoch=setting.report.on_epoch,
        save=None if checkpoint is None else lambda now: checkpoint.save(now.tensors, now.facts()),
        save_every=setting.save_every,
        on_windows=lambda: windows.append(True),
    )
    metrics: dict[str, Any] = {
        "heldout_rmse": None,
        "windows": bool(windows),
        "notes": [],
        "seconds": time.perf_counter() - began,
    }
    return rows.fitted("latent", network, metrics, setting.device)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Transitions as plain arrays in a frame.

    Attributes:
        data: The data.
        frame: The frame.
        rows: Which transitions ``[k]``.
        clipped: Transitions on bounds, that effects of bounds are learned from ``[T]``.
        cut: Which changes ``[T, c]`` a bound cut off, where they count one-sided.
    """

    data: Data
    frame: Frame
    rows: NDArray[np.int64]
    clipped: NDArray[np.bool_]
    cut: NDArray[np.int8] | None = None

    @classmethod
    def of(cls, data: Data, config: Hierarchical | Latent, without: Without) -> _Rows:
        t, lag = data.transitions, config.lag
        clipped = data.clipped if config.skip_clipped else np.zeros_like(data.clipped)
        kept = np.ones(len(t), dtype=np.bool_) if without is None else ~without
        used = ~clipped & kept
        whole = used & (t.step >= lag - 1)  # a past that was recorded, where there is any
        used = whole if whole.any() else used
        data.check_left(used)
        frame = Frame.of(data, lag, used, seen=config.seen)
        if not frame.size:
            raise ValueError(
                "neither a coordinate nor an action varies in what is left to fit: there is "
                "nothing to learn from; record more"
            )
        return cls(data, frame, np.flatnonzero(used), clipped & kept)

    @property
    def num_agents(self) -> int:
        """Number of agents ``N``."""
        return self.data.transitions.num_agents

    @property
    def agents(self) -> NDArray[np.int64]:
        """Whose each is ``[k]``."""
        return self.data.transitions.agent[self.rows]

    def arrays(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Features ``[n, q]`` and changes ``[n, c]`` of some transitions."""
        t, frame = self.data.transitions, self.frame
        obs = torch.as_tensor(t.obs[rows]).double()
        features = frame.features(frame.states(self.data)[rows], torch.as_tensor(t.action[rows]))
        return features, frame.change(obs, obs + torch.as_tensor(t.change(rows)))

    def of_agents(self, chosen: NDArray[np.int64]) -> LatentData:
        """Those of some agents, which are numbered anew, in the order given."""
        number = np.full(self.num_agents, -1)
        number[chosen] = np.arange(len(chosen))
        own = number[self.agents]
        rows, own = self.rows[own >= 0], own[own >= 0]
        features, changes = (part.numpy() for part in self.arrays(rows))
        t = self.data.transitions
        inner = self.frame.geometry.inward(torch.as_tensor(t.obs[rows]).double())
        inner[:, list(self.frame.geometry.periodic)] = 0.0  # where one turns says nothing of size
        states = (inner / self.frame.unit).numpy()
        cut = None if self.cut is None else self.cut[rows]
        return LatentData(features, changes, own, t.episode[rows], len(chosen), states, cut)

    def fitted(
        self, method: str, model: Model, metrics: dict[str, Any], device: torch.device
    ) -> Fitted:
        """A model of these rows as an ensemble of the data's observations."""
        data, space = self.data, self.data.task.observation_space
        low, high = torch.as_tensor(space.low.copy()), torch.as_tensor(space.high.copy())
        ensemble: Ensemble = FrameEnsemble(self.frame, model, low, high).to(device, torch.float32)
        if self.frame.geometry.trivial:
            states = self.frame.states(data).numpy()
            ensemble = with_bounds(ensemble, data, states, self.clipped, torch.float32)
        else:
            metrics["geometry"] = self.frame.geometry.to_json()
        return Fitted(method, ensemble, metrics)


def with_bounds(
    ensemble: Ensemble,
    data: Data,
    states: NDArray[np.float32],
    clipped: NDArray[np.bool_],
    dtype: torch.dtype,
) -> Ensemble:
    """The same ensemble with what transitions that end on bounds say of them."""
    if not clipped.any():
        return ensemble
    predicted = predict_rows(ensemble, data, states, clipped, dtype).mean(0)
    effects = learn_bounds(
        predicted.double().cpu().numpy(),
        data.transitions.next_obs[clipped],
        *cutting_bounds(data.task),
        data.change_scale,
    )
    return ensemble.with_effects(effects)


def predict_rows(
    ensemble: Ensemble,
    data: Data,
    states: NDArray[np.float32],
    rows: NDArray[np.bool_],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Members' predictions of some transitions, as if there were no bounds ``[m, k, d]``."""
    t, device = data.transitions, ensemble.device
    index = np.flatnonzero(rows)
    parts = []
    for part in np.array_split(index, max(1, len(index) // 4096)):
        state = torch.as_tensor(states[part], device=device).to(dtype)
        action = torch.as_tensor(t.action[part], device=device)
        agents = torch.as_tensor(t.agent[part], device=device)
        parts.append(before_bounds(ensemble, agents, state, action))
    return torch.cat(parts, dim=1)


def one_step_rmse(
    ensemble: Ensemble, data: Data, states: NDArray[np.float32], rows: NDArray[np.bool_]
) -> float:
    """Root mean square error of one step of the members' mean, over rows and coordinates."""
    predicted = ensemble.settle(predict_rows(ensemble, data, states, rows)).mean(0).cpu().numpy()
    return float(np.sqrt(np.mean((predicted - data.transitions.next_obs[rows]) ** 2)))
