"""From data and a configuration to a fitted ensemble: by one family, or by an honest choice.

By default the closed form is fitted first, which takes seconds. If that leaves next to nothing
unexplained, the law has been found. If not, the families are fitted without the last stretches of
every trajectory and compared by how well they predict these, open loop; the best one is taken, or a
mixture of close ones, and fitted to everything. What is judged is what is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.comparison.family_choice import Candidate, Comparison, compare
from persim_gym.learned.comparison.holdout import Predictor, Record, held_out, kept_back
from persim_gym.learned.comparison.score import ESCAPES
from persim_gym.learned.config import ClosedForm, Hierarchical, Latent, Networks
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.fitting.candidates import SINGLE, candidates_of
from persim_gym.learned.fitting.families import (
    Fitted,
    Setting,
    Without,
    fit_als,
    fit_hierarchy,
    fit_latents,
    fit_networks,
    in_inner_coordinates,
)
from persim_gym.learned.fitting.plan import FitPlan
from persim_gym.learned.history import slots, width_of
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.uncertainty.fading import Fading
from persim_gym.learned.uncertainty.intervals import Unseen

#: Open-loop error, in units of the observations' standard deviation, of what is taken for the law
#: itself, or for nearly the law: then networks are not tried.
LAW, NEAR_LAW = 1e-4, 1e-3
#: Share of changes that the law itself leaves unexplained, rounding, and what is nearly the law.
ROUNDING, REST = 1e-9, 1e-6
#: Error, over a closed form's near the law, of a family that is taken instead.
INSTEAD = 0.5
#: Members of a network that is only compared.
COMPARED = 2
#: Members that a mixture has at the most, about: weights are rounded to as many parts.
PARTS = 20


#: Families as a bar calls them.
_FAMILIES = {
    ClosedForm: "closed form",
    Networks: "networks",
    Hierarchical: "hierarchical",
    Latent: "latent",
}


def fit_by(data: Data, plan: FitPlan, setting: Setting) -> Fitted:
    """Fit by the family that a plan names, or by what predicts best.

    Raises:
        ValueError: If the data do not carry what is asked for.
        FloatingPointError: If a fit diverges.
    """
    # Closed forms and comparisons are many small operations; networks of `sgd` see to themselves.
    alone = nullcontext() if "sgd" in plan.configs else data.few_threads()
    with alone:
        return _fit_by(data, plan, setting)


def _fit_by(data: Data, plan: FitPlan, setting: Setting) -> Fitted:
    if plan.method != "auto":
        config = plan.configs[plan.method]
        return _with_unseen(data, fit_family(data, config, setting), config, setting)
    configs, kept = candidates_of(data, plan.configs, plan.lag)
    found = _chosen(data, configs, plan.seed, setting)
    notes = [*kept.pop("notes", ()), *found.metrics.get("notes", ())]
    found.metrics.update(kept | {"notes": notes})
    return found


def fit_family(data: Data, config: Any, setting: Setting, without: Without = None) -> Fitted:
    """Fit the family that a configuration is of.

    Args:
        data: The data.
        config: :class:`ClosedForm`, :class:`Networks`, :class:`Hierarchical` or :class:`Latent`.
        setting: Where.
        without: Transitions to leave out ``[T]``.
    """
    setting.report.on_part(f"{setting.doing} {_FAMILIES.get(type(config), '')}")
    if isinstance(config, ClosedForm):
        return in_inner_coordinates(lambda own: fit_als(own, config, setting, without), data)
    if isinstance(config, Networks):
        turning = config if data.geometry.trivial else replace(config, angles=True)
        return in_inner_coordinates(lambda own: fit_networks(own, turning, setting, without), data)
    if isinstance(config, Hierarchical):
        return fit_hierarchy(data, config, setting, without)
    if isinstance(config, Latent):
        return fit_latents(data, config, setting, without)
    raise TypeError(f"there is no family of {type(config).__name__}")


def _chosen(data: Data, configs: dict[str, Any], seed: int, setting: Setting) -> Fitted:
    """The best of several families, or a mixture of close ones."""
    failed, closed = "", None
    if "als" in configs:
        try:
            closed = fit_family(data, configs["als"], setting)
        except (ValueError, FloatingPointError) as error:  # too few data
            failed = str(error)
            del configs["als"]
        else:
            configs = _worth_comparing(configs, closed)
            if list(configs) == ["als"]:
                return _with_unseen(data, closed, configs["als"], setting)
            configs["als"] = _as_chosen(configs["als"], closed)
    lag = max(config.lag for config in configs.values())
    candidates = {
        name: Candidate(
            _fitting(data, _smaller(config), replace(setting, doing="compare")),
            further=isinstance(config, (ClosedForm, Hierarchical)),
            plain=name.startswith("linear"),
            slow=isinstance(config, (Latent, Networks)),
            needed=_over_windows,
            like=name.removesuffix(SINGLE) if name.endswith(SINGLE) else "",
        )
        for name, config in configs.items()
    }
    found = compare(record_of(data, lag), candidates, seed=seed)
    if closed is not None and _is_near_law(closed) and not _is_beaten(closed, found):
        return _with_unseen(data, closed, configs["als"], setting)
    parts = {
        name: closed
        if name == "als" and closed is not None
        else fit_family(data, _settled(configs[name], found.fits[name]), setting)
        for name in found.weights
    }
    made = _joined(parts, found.weights)
    again = _again(
        data, {name: (own, configs[name]) for name, own in parts.items()}, found.weights, setting
    )
    made = replace(made, unseen=_unseen(found, len(data.transitions)), again=again)
    notes = [*found.notes, *made.metrics.get("notes", ())]
    made.metrics.update(_metrics(found) | {"notes": notes})
    if failed:
        made.metrics["closed_form"] = failed
    name = max(found.weights, key=found.weights.__getitem__)
    first, plain = configs[name], candidates[name].plain
    if isinstance(first, (Hierarchical, Latent)) and (first.lag > 1 or plain):
        # With it, it is fitted again.
        made.metrics["past"] = {"lag": first.lag, "seen": first.seen}
        if name.endswith(SINGLE):
            made.metrics["past"]["window_steps"] = 0
        if plain and isinstance(first, Hierarchical):
            made.metrics["past"]["degree"] = first.degree
    return made


def _as_chosen(config: Any, fitted: Fitted) -> Any:
    """The configuration with what a fit has chosen."""
    names = ("degree", "rank", "threshold") if isinstance(config, ClosedForm) else ("degree",)
    return replace(config, **{name: fitted.metrics["chosen"][name] for name in names})


def _with_unseen(data: Data, fitted: Fitted, config: Any, setting: Setting) -> Fitted:
    """A fit in closed form with a like one that has not seen some stretches.

    They are anywhere in the record, or the last ones of short records.
    """
    part = {"": (fitted, config)}
    again = _again(data, part, {"": 1.0}, setting)
    if again is not None or not _closed(part):
        return replace(fitted, unseen=again, again=again)
    parts = held_out(record_of(data, config.lag), np.random.default_rng([config.seed, 7]))
    if not parts:
        return fitted
    without = np.ones(len(data.transitions), dtype=np.bool_)
    without[parts[0].rows] = False
    return replace(fitted, unseen=_without(data, part, {"": 1.0}, setting, without))


#: Fits with their configurations, by name.
Parts = Mapping[str, tuple[Fitted, Any]]


def _closed(parts: Parts) -> bool:
    """Whether it takes little to fit once more: networks would take as long again as they have."""
    return all(isinstance(config, (ClosedForm, Hierarchical)) for _, config in parts.values())


def _again(data: Data, parts: Parts, weights: dict[str, float], setting: Setting) -> Unseen | None:
    """Fits in closed form without a stretch of each agent; ``None`` of others and short records."""
    if not _closed(parts):
        return None
    kept = kept_back(record_of(data, max(config.lag for _, config in parts.values())))
    if not kept.any():
        return None
    return _without(data, parts, weights, setting, kept)


def _without(
    data: Data,
    parts: Parts,
    weights: dict[str, float],
    setting: Setting,
    without: NDArray[np.bool_],
) -> Unseen | None:
    """The same fits without some transitions ``[T]``; ``None`` where too little is left."""
    setting = replace(setting, doing="check")
    try:
        found = {
            name: fit_family(data, _as_chosen(config, fitted), setting, without).ensemble
            for name, (fitted, config) in parts.items()
        }
    except (ValueError, FloatingPointError):
        return None
    return Unseen(_mixture(found, weights), np.flatnonzero(without))


def _unseen(found: Comparison, rows: int) -> Unseen | None:
    """What was compared, as it will be used: fitted without the part that was held out last."""
    parts = {name: found.fitted[name] for name in found.weights}
    fits = {name: own for name, own in parts.items() if isinstance(own, OpenLoop)}
    seen = next(iter(fits.values())).rows if len(fits) == len(parts) else None
    if seen is None:
        return None
    joined = _mixture({name: own.ensemble for name, own in fits.items()}, found.weights)
    return Unseen(joined, np.setdiff1d(np.arange(rows), seen))


def _worth_comparing(configs: dict[str, Any], closed: Fitted) -> dict[str, Any]:
    """Configurations of what may be better than a closed form, and its own.

    Nothing is better where it leaves no more than rounding, even if rollouts leave the recorded
    range: a pole falls for longer than a short record does. Near the law, each agent's own
    polynomial may be.
    """
    chosen, unexplained = closed.metrics["chosen"], closed.metrics["unexplained"]
    if chosen["error"] <= LAW and unexplained <= ROUNDING:
        return {"als": configs["als"]}
    if _is_near_law(closed):
        return {name: own for name, own in configs.items() if name in ("als", "hierarchical")}
    return dict(configs)


def _is_near_law(closed: Fitted) -> bool:
    """Whether a closed form leaves so little that networks need not be tried."""
    chosen, metrics = closed.metrics["chosen"], closed.metrics
    stable = chosen["escapes"] <= ESCAPES
    return bool(stable and metrics["unexplained"] <= REST and chosen["error"] <= NEAR_LAW)


def _is_beaten(closed: Fitted, found: Comparison) -> bool:
    """Whether each agent's own polynomial is clearly better than a closed form near the law.

    It must be better than the closed form of as few data, and than what that one's own search says.
    """
    own, other = found.scores["als"], found.scores["hierarchical"]
    least = math.log(closed.metrics["chosen"]["error"])
    if not own.failed:
        least = min(least, own.score)
    alone = found.weights.keys() == {"hierarchical"}
    return alone and other.score < least + math.log(INSTEAD)


def _fitting(data: Data, config: Any, setting: Setting) -> Callable[[NDArray[np.int64]], Predictor]:
    def fit(rows: NDArray[np.int64]) -> Predictor:
        without = np.ones(len(data.transitions), dtype=np.bool_)
        without[rows] = False
        return OpenLoop(fit_family(data, config, setting, without), rows)

    return fit


def _over_windows(fits: Sequence[Predictor]) -> bool:
    """Whether networks were fitted over windows."""
    return any(isinstance(p, OpenLoop) and bool(p.fitted.metrics.get("windows")) for p in fits)


def _smaller(config: Any) -> Any:
    """The configuration by which a family is compared: networks with fewer members."""
    if isinstance(config, (Networks, Latent)):
        return replace(config, ensemble_size=min(config.ensemble_size, COMPARED))
    return config


def _settled(config: Any, judged: Sequence[Predictor]) -> Any:
    """The configuration with what the judged fits have chosen, the middle one of them."""
    if not isinstance(config, Hierarchical):
        return config
    chosen = [p.fitted.metrics["chosen"]["degree"] for p in judged if isinstance(p, OpenLoop)]
    return replace(config, degree=sorted(chosen)[(len(chosen) - 1) // 2])


def _joined(parts: dict[str, Fitted], weights: dict[str, float]) -> Fitted:
    """One family, or a mixture of several with about the weights that were found."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    mixture = _mixture({name: part.ensemble for name, part in parts.items()}, weights)
    metrics: dict[str, Any] = {
        "heldout_rmse": None,
        "parts": {name: part.metrics for name, part in parts.items()},
        "weights": weights,
        "notes": [note for part in parts.values() for note in part.metrics.get("notes", ())],
        "seconds": sum(part.metrics.pop("seconds") for part in parts.values()),
    }
    for part in parts.values():  # which is of the data, and the same for all
        metrics |= {key: own for key, own in part.metrics.items() if key == "geometry"}
    return Fitted("mixture", mixture, metrics)


def _mixture(parts: dict[str, Ensemble], weights: dict[str, float]) -> Ensemble:
    """Members of several ensembles, each as often as its weight asks for."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    shares = {name: weights[name] / part.members for name, part in parts.items()}
    unit = PARTS / sum(shares[name] * part.members for name, part in parts.items())
    times = {name: max(1, round(share * unit)) for name, share in shares.items()}
    common = math.gcd(*times.values())
    return MixtureEnsemble(list(parts.values()), [n // common for n in times.values()])


def _metrics(found: Comparison) -> dict[str, Any]:
    scores = found.scores.items()
    plain = {name: score.to_json() for name, score in scores}
    for own in plain.values():
        own.pop("seconds", None)  # equal fits give equal files
    return {
        "compared": {name: math.exp(own.score) for name, own in scores if not own.failed},
        "comparison": plain,
        "horizons": list(found.horizons),
    }


class OpenLoop:
    """A fit as :mod:`persim_gym.learned.comparison.family_choice` uses it.

    Args:
        fitted: The members; what is predicted is their mean.
        rows: Transitions that were fitted ``[k]``; ``None`` for all.
        fading: How predictions fade, if they do.
    """

    def __init__(
        self,
        fitted: Fitted,
        rows: NDArray[np.int64] | None = None,
        fading: Fading | None = None,
    ) -> None:
        self.fitted, self.rows, self.fading = fitted, rows, fading
        self.ensemble: Ensemble = fitted.ensemble

    def rollout(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        """Agents ``[n]``, states ``[n, l * d]``, actions ``[n, h(, a)]`` -> ``[n, h, d]``."""
        return np.asarray(self.rollouts(agents, states, actions).mean(0))

    def rollouts(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Those of each member ``[m, n, h, d]``."""
        device = self.ensemble.device
        width = self.ensemble.lag * (self.ensemble.past + self.ensemble.obs_dim)
        unrolled = self.ensemble.unroll(
            torch.as_tensor(agents, device=device),
            torch.as_tensor(states[:, -width:], device=device),
            torch.as_tensor(actions, device=device)[:, None],
        )
        steps = torch.stack([obs[:, :, 0] for obs in unrolled], dim=2)
        if self.fading is not None:
            steps = self.fading(steps, torch.as_tensor(states, device=device))
        return np.asarray(steps.double().cpu().numpy())


def record_of(data: Data, lag: int) -> Record:
    """Transitions as candidates are compared on them, with states of ``lag`` observations."""
    t, past = data.transitions, width_of(lag, data.task.action_space)
    turns = {angle.column: angle.period for angle in data.geometry.angles}
    return Record(
        t.agent,
        t.episode,
        slots(t, lag, past),
        t.action,
        t.next_obs,
        data.deviation.astype(np.float64),
        scored=t.step >= lag - 1 if lag > 1 and (t.step >= lag - 1).any() else None,
        over=data.task.terminated,
        turns=turns,
    )
