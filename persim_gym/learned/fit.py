"""The two ways of fitting, and the choice between them.

*Closed form* (``"als"``): the low-rank model in a polynomial basis, see
:mod:`persim_gym.learned.closed_form.fit`. *Networks* (``"sgd"``): the paper's, by gradient descent.
``"auto"`` fits in closed form first, which takes seconds. If that leaves next to nothing
unexplained, the law has been found. If not, both are fitted without the same stretches of every
trajectory, and the one that predicts these better is taken, fitted to everything.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import store
from persim_gym.learned.bounds import learn_bounds
from persim_gym.learned.charted import ChartedEnsemble, charted
from persim_gym.learned.choice import Candidate, compare
from persim_gym.learned.closed_form.fit import UNEXPLAINED, fit_closed_form
from persim_gym.learned.closed_form.problem import pose
from persim_gym.learned.config import AlsConfig, FitConfig, FitPlan
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.networks.ensemble import NetworkEnsemble
from persim_gym.learned.networks.network import LowRankNetwork
from persim_gym.learned.networks.optimise import Checkpoint, fit_network
from persim_gym.learned.preparation import Data, prepare
from persim_gym.learned.progress import FitReport
from persim_gym.learned.stretches import Predictor, Record


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit has found.

    Attributes:
        method: ``"als"`` or ``"sgd"``.
        ensemble: The members.
        metrics: What is kept in the simulator's card.
        noise: Of a closed form: variance of what is left, in the data's units ``[m, d]``.
    """

    method: str
    ensemble: Ensemble
    metrics: dict[str, Any]
    noise: Tensor | None = None


def fit_by(
    data: Data,
    plan: FitPlan,
    device: torch.device,
    report: FitReport,
    checkpoint: Checkpoint | None,
    save_every: float,
) -> Fitted:
    """Fit by the method that a plan names, or by the better one.

    Where coordinates are angles in disguise, it is fitted in inner coordinates.

    Raises:
        ValueError: If the data do not carry what is asked for.
        FloatingPointError: If a fit diverges.
    """
    geometry = data.geometry
    if geometry.trivial:
        return _fit_by(data, plan, device, report, checkpoint, save_every)
    if plan.sgd is not None:  # an angle goes round, and networks need to know it
        plan = replace(plan, sgd=replace(plan.sgd, angles=True))
    inner = charted(data, geometry)
    found = _fit_by(inner, plan, device, report, checkpoint, save_every)
    space = data.task.observation_space
    bounds = (torch.as_tensor(end.copy()) for end in (space.low, space.high))
    found.metrics["geometry"] = geometry.to_json()
    return replace(found, ensemble=ChartedEnsemble(found.ensemble, geometry, *bounds))


def _fit_by(
    data: Data,
    plan: FitPlan,
    device: torch.device,
    report: FitReport,
    checkpoint: Checkpoint | None,
    save_every: float,
) -> Fitted:
    if plan.als is None:
        assert plan.sgd is not None
        return fit_networks(data, plan.sgd, device, report, checkpoint, save_every)
    if plan.sgd is None:
        return fit_als(data, plan.als, device, report)
    try:
        closed = fit_als(data, plan.als, device, report)
    except (ValueError, FloatingPointError) as error:  # too few data, or hopelessly collinear
        found = fit_networks(data, plan.sgd, device, report, checkpoint, save_every)
        found.metrics["closed_form"] = str(error)
        return found
    if closed.metrics["unexplained"] <= UNEXPLAINED:
        return closed
    return _better(data, plan, closed, device, report, checkpoint, save_every)


def _better(
    data: Data,
    plan: FitPlan,
    closed: Fitted,
    device: torch.device,
    report: FitReport,
    checkpoint: Checkpoint | None,
    save_every: float,
) -> Fitted:
    """The closed form or networks, whichever predicts stretches better that neither has seen.

    What is judged is what is returned: the closed form with the settings that were chosen.
    """
    assert plan.als is not None
    assert plan.sgd is not None
    lag = max(plan.als.lag, plan.sgd.lag)
    chosen = closed.metrics["chosen"]
    fixed = replace(plan.als, **{name: chosen[name] for name in ("degree", "rank", "threshold")})
    networks = plan.sgd

    def without(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        left = np.ones(len(data.transitions), dtype=np.bool_)
        left[rows] = False
        return left

    def partly_closed(rows: NDArray[np.int64]) -> Predictor:
        return OpenLoop(fit_als(data, fixed, device, report, without(rows)).ensemble)

    def partly_networks(rows: NDArray[np.int64]) -> Predictor:
        return OpenLoop(
            fit_networks(data, networks, device, report, None, save_every, without(rows)).ensemble
        )

    candidates = {"als": Candidate(partly_closed), "sgd": Candidate(partly_networks)}
    found = compare(record_of(data, lag), candidates, mix=False, seed=plan.seed)
    better = closed
    if found.winner == "sgd":
        better = fit_networks(data, networks, device, report, checkpoint, save_every)
    scores = found.scores.items()
    better.metrics["compared"] = {n: math.exp(s.score) for n, s in scores if not s.failed}
    better.metrics["comparison"] = {name: score.to_json() for name, score in scores}
    return better


class OpenLoop:
    """An ensemble as :mod:`persim_gym.learned.choice` uses it.

    Args:
        ensemble: The members; what is predicted is their mean.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble

    def rollout(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        """Agents ``[n]``, states ``[n, l * d]``, actions ``[n, h(, a)]`` -> ``[n, h, d]``."""
        device, width = self.ensemble.device, self.ensemble.lag * self.ensemble.obs_dim
        unrolled = self.ensemble.unroll(
            torch.as_tensor(agents, device=device),
            torch.as_tensor(states[:, -width:], device=device),
            torch.as_tensor(actions, device=device)[:, None],
        )
        steps = torch.stack([obs[:, :, 0].mean(0) for obs in unrolled], dim=1)
        return np.asarray(steps.double().cpu().numpy())


def record_of(data: Data, lag: int) -> Record:
    """Transitions as candidates are compared on them, with states of ``lag`` observations."""
    t = data.transitions
    return Record(
        t.agent,
        t.episode,
        data.states(lag),
        t.action,
        t.next_obs,
        data.spread.astype(np.float64),
        scored=t.step >= lag - 1 if lag > 1 and (t.step >= lag - 1).any() else None,
        over=data.task.terminated,
    )


def fit_als(
    data: Data,
    config: AlsConfig,
    device: torch.device,
    report: FitReport,
    without: NDArray[np.bool_] | None = None,
) -> Fitted:
    """Fit in closed form.

    Args:
        data: The data.
        config: How.
        device: Where to compute.
        report: Told of each candidate.
        without: Transitions to leave out ``[T]``.
    """
    began = time.perf_counter()
    clipped = data.clipped if config.skip_clipped else np.zeros_like(data.clipped)
    used = ~clipped if without is None else ~clipped & ~without
    data.check_left(used)
    states = data.states(config.lag)
    problem = pose(data.transitions, data.task, states, used, config.lag, device)
    found = fit_closed_form(problem, config, report.on_trial)
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


def fit_networks(
    data: Data,
    config: FitConfig,
    device: torch.device,
    report: FitReport,
    checkpoint: Checkpoint | None,
    save_every: float,
    without: NDArray[np.bool_] | None = None,
) -> Fitted:
    """Fit the paper's networks by gradient descent, some transitions ``[T]`` left out."""
    ready = prepare(data, config, without)
    resume = checkpoint.load() if checkpoint is not None else None
    network = LowRankNetwork.initial(ready.shape, ready.generator(config.seed), device)
    scaling = ready.scaling.to(device)

    def heldout_rmse(fitted: LowRankNetwork) -> float:
        return one_step_rmse(NetworkEnsemble(fitted, scaling), data, ready.states, ready.held)

    fitted, last = fit_network(
        network,
        ready.training_data(device),
        config,
        resume=resume,
        heldout_rmse=heldout_rmse if ready.held.any() else None,
        on_epoch=report.on_epoch,
        save=checkpoint.save if checkpoint is not None else None,
        save_every=save_every,
    )
    kept = sorted(np.argsort(last.loss)[: config.ensemble_size].tolist())
    ensemble: Ensemble = NetworkEnsemble(fitted.members(kept), scaling)
    if config.skip_clipped:
        seen = data.clipped & ~ready.held
        seen = seen if without is None else seen & ~without
        ensemble = with_bounds(ensemble, data, ready.states, seen, torch.float32)
    metrics = {
        "loss": [last.loss[member] for member in kept],
        "heldout_rmse": one_step_rmse(ensemble, data, ready.states, ready.held)
        if ready.held.any()
        else None,
        "heldout_transitions": int(ready.held.sum()),
        "seconds": last.seconds,
    }
    return Fitted("sgd", ensemble, metrics)


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
    space = data.task.observation_space
    effects = learn_bounds(
        predicted.double().cpu().numpy(),
        data.transitions.next_obs[clipped],
        space.low,
        space.high,
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


def checkpoint_in(out: str | Path | None, recipe: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint file of a fit into a folder."""
    return Checkpoint(Path(out) / store.CHECKPOINT, recipe) if out is not None else None
