"""What of a past is needed: the past observations, and those past actions that act late.

An action that acts six steps later asks for one number of the past, and a past of seven
observations has a dozen. Each number too many is a weight more that a record must tell, and a past
observation brings its noise along. So past observations are left out that open-loop predictions do
not need, and actions are taken one after the other, as long as one more of them takes something
away from what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.features.frame import Frame
from persim_gym.learned.features.lags import (
    CARRIED,
    RIDGES,
    SLACK,
    SMALL,
    STEP_SLACK,
    LagTrial,
    few_of,
    judge,
    split,
)
from persim_gym.learned.features.ridge import basis_of, present, terms_of
from persim_gym.learned.hierarchical.population import Moments, moments
from persim_gym.learned.preparation import Data

#: By how much the error of one step may be larger without past observations where they tell nothing
#: hidden: they average noise of the present one, the half of what one step leaves at the most.
AVERAGED = 1.45
#: By how much the logarithm of a coordinate's error must fall for an action to be taken, and may be
#: above that with all of them.
GAIN = 0.03
#: Errors, in units of the changes, that count as none.
FINE = 1e-3
#: Share of what a past takes away from an error that a part of it may miss: of one step, where
#: predictions of ten steps are no worse, and of ten steps, where errors are noise.
MISSED = 0.03
#: Share of the error of one step that a past takes away, above which a part of it may miss at the
#: most such a share of that.
SHOWN, LOST = 0.25, 0.2
#: Share of the columns up to which fewer are worth it: a few less gain little, and what a long past
#: averages of noise is lost.
MOST = 0.5


@dataclass(frozen=True, slots=True)
class Past:
    """What is seen of a past.

    Attributes:
        lag: Observations of a state.
        seen: Columns of the past and of the present action that are seen, of those in
            :attr:`Frame.optional`; ``None`` for all of them.
    """

    lag: int
    seen: tuple[int, ...] | None = None


def needed_past(data: Data, lag: int) -> Past:
    """What is needed of a past; all of it where nothing says which part."""
    few = few_of(data)
    few.geometry = data.geometry  # columns are those of the frame that is fitted
    parts = split(few, lag)
    if parts is None or lag == 1:
        return Past(lag)
    frame = Frame.of(few, lag, parts[0], geometry=few.geometry)
    changes, late, now = (
        [column for column in columns if column in frame.kept] for columns in frame.optional
    )
    width, first = frame.geometry.size, frame.optional[0][0]
    none, whole = (judge(few, lag, *parts, seen) for seen in (now, None))
    fitted = Frame.of(data, lag, geometry=few.geometry)
    # Of what is constant in these rows, nothing says that it is not needed.
    unjudged = {*fitted.kept} & {*chain(*frame.optional)} - {*frame.kept}

    def enough(seen: Sequence[int]) -> bool:
        return as_good(judge(few, lag, *parts, seen), whole, none)

    for steps in range(lag):
        some = [column for column in changes if column < first + steps * width]
        if enough([*some, *late, *now]):
            changes = some
            break
    for actions in _taken(few, frame, parts, changes):
        if enough([*changes, *actions]):
            return _shortened(fitted, {*changes, *actions, *unjudged})
    return _shortened(fitted, {*changes, *late, *now, *unjudged})


def as_good(found: LagTrial, whole: LagTrial, none: LagTrial) -> bool:
    """Whether a part of a past predicts as well as the whole.

    That may be a little more exact, where it averages noise, or makes up for what these regressions
    cannot say; in one step alone, if it is no better in the long run.
    """
    gains = none.one_step - whole.one_step, none.open_loop - whole.open_loop
    noisy = found.carried <= CARRIED  # errors that do not go on are of nothing hidden
    near = found.open_loop <= SLACK * max(whole.open_loop, SMALL)
    if not near and not (noisy and found.open_loop <= whole.open_loop + MISSED * gains[1]):
        return False
    missed = found.one_step <= whole.one_step + MISSED * gains[0]
    if missed and found.open_loop <= whole.open_loop:
        return True
    # What goes on and shows in one step, a past is for.
    shows = not noisy and gains[0] > SHOWN * none.one_step
    if shows and found.one_step > whole.one_step + LOST * gains[0]:
        return False
    return found.one_step <= (AVERAGED if noisy else STEP_SLACK) * whole.one_step


def _shortened(frame: Frame, seen: Collection[int]) -> Past:
    """The shortest past that has some columns; the whole one where these are most of it."""
    if len(seen) > MOST * sum(len({*columns} & {*frame.kept}) for columns in frame.optional):
        return Past(frame.lag)
    changes, late, now = frame.optional
    width, past = frame.geometry.size, frame.past
    steps = [1 + (column - changes[0]) // width for column in seen if column in changes]
    steps += [1 + (column - late[0]) // past for column in seen if column in late]
    lag = 1 + max(steps, default=frame.lag - 1)
    # What stands before is shorter by the steps that are not in the past any more.
    fewer = {**dict.fromkeys(late, width), **dict.fromkeys(now, width + past)}
    shift = frame.lag - lag
    return Past(lag, tuple(column - shift * fewer.get(column, 0) for column in sorted(seen)))


def _taken(
    data: Data, frame: Frame, parts: Sequence[NDArray[np.bool_]], changes: Sequence[int]
) -> list[list[int]]:
    """Actions that are needed: without the present ones where these tell nothing, and with them.

    None where past ones have more to tell than one after the other.
    """
    t = data.transitions
    agents = torch.as_tensor(np.unique(t.agent, return_inverse=True)[1])
    features = frame.features(frame.states(data), torch.as_tensor(t.action))
    change = frame.change(torch.as_tensor(t.obs), torch.as_tensor(t.next_obs))
    products = present(frame)
    basis = basis_of(features, products)
    early, later = (
        moments(basis[rows], change[rows], agents[rows], int(agents.max()) + 1)
        for rows in (torch.as_tensor(np.flatnonzero(part)) for part in parts)
    )
    optional = {*chain(*frame.optional)}
    terms = [{frame.kept[k] for k in own} & optional for own in terms_of(frame.size, products)]

    def known(seen: Collection[int]) -> list[int]:
        return [k for k, own in enumerate(terms) if own <= {*seen, *changes}]

    def left(seen: Collection[int]) -> Tensor:
        return _left(early, later, known(seen))

    late, now = ([column for column in c if column in frame.kept] for c in frame.optional[1:])
    taken = list(now)
    best, every = left(taken), left([*late, *now])
    while rest := [column for column in late if column not in taken]:
        have = known(taken)  # a past action is one term more
        more = [next(k for k in known([*taken, own]) if k not in have) for own in rest]
        tried = _left_with_each(early, later, have, more)
        first = min(range(len(rest)), key=lambda k: float(tried[k].sum()))
        if float((best - tried[first]).max()) < GAIN:
            break
        best = tried[first]
        taken.append(rest[first])
    if float((best - every).max()) > GAIN:
        return []
    needed = taken
    # Columns of a discrete action belong together.
    for group in [now] if frame.choices else [[column] for column in now]:
        without = [column for column in needed if column not in group]
        if {*late} & {*taken} and float((left(without) - left(needed)).sum()) <= 0:
            needed = without
    return [needed, taken]


def _left(early: Moments, late: Moments, terms: Sequence[int]) -> Tensor:
    """Logarithm of what is left of each coordinate ``[c]``, mean over agents."""
    places = list(terms)
    gram, cross = early.gram[:, places][:, :, places], early.cross[..., places].mT
    eye = torch.eye(len(places), dtype=gram.dtype)
    every = gram.sum(0) + 1e-9 * early.count.sum() * eye
    common = torch.linalg.solve(every, cross.sum(0))
    seen = late.count > 0
    then, target = late.gram[seen][:, places][:, :, places], late.cross[seen][..., places].mT
    found = []
    for ridge in RIDGES:
        own = torch.linalg.solve(gram + ridge * 1e-2 * eye, cross - gram @ common)
        weights = (common + own)[seen]
        left = late.square[seen] - (weights * (2 * target - then @ weights)).sum(1)
        mean = left / late.count[seen, None]
        found.append(mean.clamp_min(FINE**2).log().mean(0) / 2)
    return min(found, key=lambda own: float(own.sum()))


def _left_with_each(
    early: Moments, late: Moments, terms: Sequence[int], more: Sequence[int]
) -> Tensor:
    """What :func:`_left` says of some terms and one more, for each of several ``[k, c]``.

    The equations of all but the last term are the same, and solved once: a weight of one more
    changes the others along one direction.
    """
    s, m = list(terms), list(more)
    a, b = early.gram[:, s][:, :, s], early.gram[:, s][:, :, m]
    corner = early.gram[:, m, m]
    right, last = early.cross[..., s].mT, early.cross[..., m].mT
    small = 1e-9 * early.count.sum()
    eye = torch.eye(len(s), dtype=a.dtype)
    every = torch.linalg.solve(a.sum(0) + small * eye, torch.cat([right.sum(0), b.sum(0)], 1))
    common, along = every.split([right.shape[2], len(m)], 1)
    size = corner.sum(0) + small - (b.sum(0) * along).sum(0)
    own = (last.sum(0) - b.sum(0).mT @ common) / size[:, None]  # [k, c]
    seen = late.count > 0
    judged = _Judged(late, seen, s, m)
    found = []
    for ridge in (each * 1e-2 for each in RIDGES):
        n = len(a)
        sides = torch.cat([right + ridge * common, b, along.expand(n, -1, -1)], 2)
        solved = torch.linalg.solve(a + ridge * eye, sides)
        first, x, z = solved.split([right.shape[2], len(m), len(m)], 2)
        # Weights of terms are first - z shift - x weight, that of the one more is weight.
        shift = ridge * own
        weight = last + shift - b.mT @ first + (b * z).sum(1)[..., None] * shift
        weight = weight / (corner + ridge - (b * x).sum(1))[..., None]
        found.append(judged(first[seen], z[seen], x[seen], shift, weight[seen]))
    tried = torch.stack(found)
    best = tried.sum(2).argmin(0)
    return tried[best, torch.arange(len(m))]


class _Judged:
    """What weights leave of the transitions that they are judged by.

    Args:
        late: Sums over these.
        seen: Agents that have some ``[N]``.
        terms: Terms of all candidates ``s``.
        more: The one more of each ``k``.
    """

    def __init__(
        self, late: Moments, seen: Tensor, terms: Sequence[int], more: Sequence[int]
    ) -> None:
        self.square, self.count = late.square[seen], late.count[seen]
        gram, cross = late.gram[seen], late.cross[seen].mT
        self.gram, self.beside = gram[:, terms][:, :, terms], gram[:, terms][:, :, more]
        self.corner = gram[:, more, more]
        self.target, self.last = cross[:, terms], cross[:, more]

    def __call__(
        self, first: Tensor, z: Tensor, x: Tensor, shift: Tensor, weight: Tensor
    ) -> Tensor:
        """Logarithm of what is left ``[k, c]``, mean over agents.

        Args:
            first: Weights of terms ``[n, s, c]``.
            z: By what a shift changes them ``[n, s, k]``.
            x: By what the weight of one more changes them ``[n, s, k]``.
            shift: ``[k, c]``.
            weight: ``[n, k, c]``.
        """
        of_first, of_z, of_x = self.gram @ first, self.gram @ z, self.gram @ x
        target = 2 * self.target - of_first
        plain = (first * target).sum(1)[:, None]
        # Both of them, multiplied with the gradient at the first weights, and with each other.
        slope = self.target - of_first
        by_shift = -2 * (z.mT @ slope)
        by_weight = 2 * (self.last - self.beside.mT @ first - x.mT @ slope)
        shifts = (z * of_z).sum(1)[..., None]
        both = (z * (of_x - self.beside)).sum(1)[..., None]
        weights = (self.corner + (x * (of_x - 2 * self.beside)).sum(1))[..., None]
        gained = plain + shift * by_shift + weight * by_weight
        curved = shift.square() * shifts + 2 * shift * weight * both + weight.square() * weights
        left = self.square[:, None] - gained + curved
        mean = left / self.count[:, None, None]
        return mean.clamp_min(FINE**2).log().mean(0) / 2
