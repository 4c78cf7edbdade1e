"""Open-loop predictions that fade into what is known without them, as far as they prove worthless.

Where a small error grows, as in a pole that is about to fall, a simulator follows one of many
courses, and after enough steps it has nothing to do with the one that comes. The best prediction of
a mean is then no course: it is between the simulator's, the observation that it began from, and the
population's mean. How much each counts after how many steps is a regression on stretches that a fit
had not seen. Nothing fades where that is no better on agents that had no say in it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.comparison.holdout import Record, starts_in
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.uncertainty.multi_step import predict_ahead

Floats = NDArray[np.float64]
#: What a fading holds of each coordinate, whatever the number of steps.
_OWN = ("torn", "mean", "unit", "low", "high")

#: Steps ahead at which weights are measured; between them they are interpolated.
STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60)
#: Predictions and agents that a number of steps needs, and predictions at the most.
ENOUGH, AGENTS, STARTS = 60, 10, 3000
#: Share of the error of persistence, or of the mean if that is less, up to which predictions do not
#: fade, and by how much the logarithm of the error must fall.
WORTH, GAIN = 0.7, 0.05
#: How much disagreement may count: the first unless another is better by as much. If members were
#: draws of what may be, 1 would be right; so little costs less than it saves whatever they are.
TORN = (0.25, 1.0)
#: The same of a mixture: its families differ by their nature, and their mean is the better for it.
MIXED = (0.0, *TORN)
#: Disagreement that counts nothing, in units of the observations' deviation: what a prediction far
#: from the mean would lose is more than such an error.
AGREED = 0.25
#: Errors below this, in units of the observations' deviation, count alike.
FINE = 1e-5


@dataclass(frozen=True, slots=True)
class Fading:
    """How much of predictions is the simulator's, of each coordinate.

    Where members disagree by ``s`` standard deviations of the observations more than
    :data:`AGREED`, the simulator's weight is divided by ``1 + torn s^2``: what is left then is the
    mean of what may be, the population's.

    Attributes:
        steps: Steps ahead ``[F]``.
        model: Weight of the simulator's prediction ``[F, d]``, never growing; 1 where all is its.
        start: Weight of the observation that it began from ``[F, d]``; the rest is the mean's.
        torn: How much disagreement counts ``[d]``; 0 for nothing.
        mean: The population's mean ``[d]``.
        unit: Standard deviations of the observations ``[d]``.
        low: Least recorded observation ``[d]``: what fades counts as no further off, and where
            members disagree as little further.
        high: Largest ``[d]``.
    """

    steps: Floats
    model: Floats
    start: Floats
    torn: Floats
    mean: Floats
    unit: Floats
    low: Floats
    high: Floats

    def weights(self, steps: Floats) -> tuple[Floats, Floats]:
        """Weights of the simulator and of the beginning ``[h, d]`` at some steps ``[h]``."""
        at, known = np.log(steps), np.log(self.steps)
        model, start = (
            np.stack([np.interp(at, known, column) for column in part.T], axis=1)
            for part in (self.model, self.start)
        )
        return model, start

    def __call__(self, predicted: Tensor, states: Tensor, steps: Floats | None = None) -> Tensor:
        """Predictions ``[m, n, h, d]`` from states ``[n, l * w]``, faded.

        The members' disagreement shrinks with the root of what their mean does: a mean that is not
        known is no sure one.

        Args:
            predicted: The members' predictions.
            states: What they began from.
            steps: How many steps ahead they are ``[h]``; by default all from the first.
        """
        d, h = predicted.shape[-1], predicted.shape[2]
        weights = self.weights(np.arange(1.0, h + 1) if steps is None else steps)
        model, start = (torch.as_tensor(part).to(predicted) for part in weights)
        own = {name: torch.as_tensor(getattr(self, name)).to(predicted) for name in _OWN}
        begun = states.flatten(1)[:, None, -d:].to(predicted)
        deviation = predicted.std(0, correction=0) / own["unit"]
        agreed = 1 / (1 + own["torn"] * (deviation - AGREED).clamp_min(0).square())
        inside = predicted.clamp(own["low"], own["high"])
        kept = torch.where(model < 1, inside, inside + agreed * (predicted - inside))
        centre = kept.mean(0)
        away = kept - centre
        weight = model * agreed
        faded = weight * centre + start * begun + (1 - weight - start) * own["mean"]
        faded = faded + model * agreed.sqrt() * away
        return torch.where((model < 1) | (own["torn"] > 0), faded, predicted)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        names = ("steps", "model", "start", *_OWN)
        return {f"fading.{name}": torch.as_tensor(getattr(self, name)) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Fading:
        """What :meth:`tensors` has given, by the rest of the names."""
        return cls(**{name: tensor.double().numpy() for name, tensor in tensors.items()})

    def to_json(self) -> dict[str, Any]:
        """Weights of the simulator's predictions by steps ahead, for the card."""
        rounded = np.round(self.model, 3).tolist()
        by_step = {str(int(step)): own for step, own in zip(self.steps, rounded, strict=True)}
        return {"weight": by_step, "disagreement_counts": self.torn.tolist()}


@dataclass(frozen=True, slots=True)
class _Tried:
    """Predictions of one coordinate after some steps, less the mean, in units ``[n]``.

    Attributes:
        raw: As they are.
        inside: Held within the record.
        deviation: The members' standard deviation.
        begun: The observations that they began from.
        truth: What came.
        agent: Whose they are.
    """

    raw: Floats
    inside: Floats
    deviation: Floats
    begun: Floats
    truth: Floats
    agent: NDArray[np.int64]

    def torn(self, counts: float) -> _Tried:
        """Where disagreement counts so much."""
        agreed = 1 / (1 + counts * np.square(np.maximum(self.deviation - AGREED, 0)))
        raw = (self.inside + agreed * (self.raw - self.inside)) * agreed
        return replace(self, raw=raw, inside=self.inside * agreed)


def learn_fading(
    ensemble: Ensemble, record: Record, rows: NDArray[np.int64], turning: Collection[int]
) -> Fading | None:
    """Learn from stretches that were kept from a fit how its predictions fade.

    Args:
        ensemble: The fit's members, of whom the mean is judged.
        record: The record.
        rows: Transitions that it has not seen ``[k]``.
        turning: Coordinates of angles: between two of them there is no mean.

    Returns:
        ``None`` where nothing fades, or too little was kept back.
    """
    held = np.zeros(len(record.agent), dtype=np.bool_)
    held[rows] = True
    start, length, _ = starts_in(record, held)
    if len(start) > STARTS:
        fewer = np.linspace(0, len(start) - 1, STARTS).astype(np.int64)
        start, length = start[fewer], length[fewer]
    steps = [h for h in STEPS if _enough(record.agent[start[length >= h]])]
    if not steps:
        return None
    ahead = start[:, None] + np.minimum(np.arange(steps[-1]), length[:, None] - 1)
    inputs = record.agent[start], record.states[start], record.actions[ahead]
    members = predict_ahead(ensemble, *inputs, steps)[0].numpy()
    d = members.shape[-1]
    ends = record.next_obs.min(0), record.next_obs.max(0)
    low, high = (end.astype(np.float64) for end in ends)
    mean = record.next_obs[~held].mean(0, dtype=np.float64)
    unit = np.where(record.unit > 0, record.unit, 1.0).astype(np.float64)
    members = np.nan_to_num(members, nan=1e15, posinf=1e15, neginf=-1e15)
    raw, apart = (members.mean(0) - mean) / unit, members.std(0)
    held_in = (np.clip(members, low, high) - mean) / unit
    begun = (record.states[start][:, -d:] - mean) / unit
    model, first = np.ones((len(steps), d)), np.zeros((len(steps), d))
    torn, away = np.zeros(d), 0.0
    counts = MIXED if isinstance(ensemble, MixtureEnsemble) else TORN
    for c in set(range(d)) - set(turning):
        tried = []
        for k, h in enumerate(steps):
            used = length >= h
            truth = (record.next_obs[start[used] + h - 1, c] - mean[c]) / unit[c]
            inside, deviation = held_in[:, used, k, c], apart[used, k, c] / unit[c]
            own = raw[used, k, c], inside.mean(0), deviation, begun[used, c], truth
            tried.append(_Tried(*own, record.agent[start[used]]))
        torn[c] = _disagreement_counts(tried, counts)
        away = max(away, *(float(np.quantile(one.deviation, 0.95)) for one in tried))
        # What has faded stays so: from the longest predictions down, as far as it pays.
        for k in reversed(range(len(steps))):
            part = tried[k].torn(torn[c])
            if not _pays(part):
                break
            model[k, c], first[k, c] = _weights(part, np.ones(len(part.agent), dtype=np.bool_))
    if (model == 1).all() and (away <= AGREED or not torn.any()):
        return None
    model = np.minimum.accumulate(model, axis=0)
    known = np.array(steps, dtype=np.float64)
    return Fading(known, model, np.minimum(first, 1 - model), torn, mean, unit, low, high)


def _disagreement_counts(tried: Sequence[_Tried], possible: Sequence[float]) -> float:
    """How much disagreement counts: more than the first only where errors are then less."""
    scores = {}
    for counts in possible:
        parts = [one.torn(counts) for one in tried]
        scores[counts] = float(np.mean([_score(one.truth - one.raw, one.agent) for one in parts]))
    best = min(scores, key=lambda counts: scores[counts])
    return best if scores[best] < scores[possible[0]] - GAIN else possible[0]


def _enough(agents: NDArray[np.int64]) -> bool:
    return len(agents) >= ENOUGH and len(np.unique(agents)) >= AGENTS


def _weights(tried: _Tried, rows: NDArray[np.bool_]) -> tuple[float, float]:
    """Weights of prediction and beginning, none negative and at most 1 together.

    The least squares of two weights in a triangle: inside of it, or on one of its three sides.
    """
    p, b, y = tried.inside[rows], tried.begun[rows], tried.truth[rows]
    found = []
    gram = np.array([[p @ p, p @ b], [p @ b, b @ b]])
    if np.linalg.det(gram) > 1e-9 * gram[0, 0] * gram[1, 1]:
        inside = np.linalg.solve(gram, np.array([p @ y, b @ y]))
        if (inside >= 0).all() and inside.sum() <= 1:
            return float(inside[0]), float(inside[1])
    sides = ((p, y, 0.0, (1.0, 0.0)), (b, y, 0.0, (0.0, 1.0)), (p - b, y - b, 1.0, (1.0, -1.0)))
    for along, left, offset, (one, two) in sides:
        share = float(np.clip(along @ left / max(float(along @ along), 1e-300), 0.0, 1.0))
        pair = (one * share, offset + two * share)
        found.append((float(np.square(y - pair[0] * p - pair[1] * b).sum()), pair))
    return min(found)[1]


def _pays(tried: _Tried) -> bool:
    """Whether predictions are hardly better than none, and faded ones are better.

    Weights from the one half of the agents are judged by the other half.
    """
    score = _score(tried.truth - tried.raw, tried.agent)
    nothing = min(_score(tried.truth - off, tried.agent) for off in (tried.begun, 0.0))
    if score < nothing + math.log(WORTH):
        return False
    group = np.unique(tried.agent, return_inverse=True)[1] % 2
    left = np.empty_like(tried.truth)
    for half in (0, 1):
        model, start = _weights(tried, group == half)
        rest = tried.truth - model * tried.inside - start * tried.begun
        left[group != half] = rest[group != half]
    return _score(left, tried.agent) < score - GAIN


def _score(left: Floats, agent: NDArray[np.int64]) -> float:
    """Half the logarithm of the median agent's error and half that of the ninth decile."""
    who = np.unique(agent, return_inverse=True)[1]
    own = np.sqrt(np.bincount(who, np.square(np.clip(left, -1e3, 1e3))) / np.bincount(who))
    own = np.maximum(own, FINE)
    return 0.5 * (math.log(float(np.median(own))) + math.log(float(np.quantile(own, 0.9))))
