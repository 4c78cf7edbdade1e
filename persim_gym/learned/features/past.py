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

from persim_gym.learned.data import Data
from persim_gym.learned.features.added import Added, left_of
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.features.lags import (
    CARRIED,
    SLACK,
    SMALL,
    STEP_SLACK,
    LagTrial,
    few_of,
    judge,
    split,
)
from persim_gym.learned.features.ridge import basis_of, present, terms_of
from persim_gym.learned.regression.population import moments

#: By how much the error of one step may be larger without past observations where they tell nothing
#: hidden: they average noise of the present one, the half of what one step leaves at the most.
AVERAGED = 1.45
#: By how much the logarithm of a coordinate's error must fall for an action to be taken, and may be
#: above that with all of them.
GAIN = 0.03
#: Share of what a past takes away from an error that a part of it may miss: of one step, where
#: predictions of ten steps are no worse, and of ten steps, where errors are noise.
MISSED = 0.03
#: Share of the error of one step that a past takes away, above which a part of it may miss at the
#: most such a share of that.
SHOWN, LOST = 0.25, 0.2
#: Share of what a past takes away from the error of one step that its actions alone must take away
#: where they are compared with all of it.
MUCH = 0.5
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
    few, parts, frame = _judged(data, lag)
    if parts is None or frame is None:
        return Past(lag)
    changes, late, now = _columns(frame)
    width, first = frame.geometry.size, frame.optional[0][0]
    none, whole = (judge(few, lag, *parts, seen) for seen in (now, None))
    fitted, unjudged = _unjudged(data, frame)

    def enough(seen: Sequence[int]) -> bool:
        return as_good(judge(few, lag, *parts, seen), whole, none)

    for steps in range(lag):
        some = [column for column in changes if column < first + steps * width]
        # Actions that are not needed are weights more, which a past observation may make up for.
        for actions in ([*late, *now], *_taken(few, frame, parts, some)):
            if enough([*some, *actions]):
                changes = some
                break
        else:
            continue
        break
    for actions in _taken(few, frame, parts, changes):
        if enough([*changes, *actions]):
            return _shortened(fitted, {*changes, *actions, *unjudged})
    return _shortened(fitted, {*changes, *late, *now, *unjudged})


def actions_alone(data: Data, lag: int) -> Past | None:
    """Past actions without past observations, where these may only make up for something.

    Regressions that are linear in the past and quadratic in the present miss what is not smooth in
    the present, which past observations tell of: one step is then better with them, and predictions
    of ten steps are not. A network misses nothing of it, and is misled by what it does not need.

    Returns:
        ``None`` where observations are needed, there is no action, or nothing says so.
    """
    few, parts, frame = _judged(data, lag)
    if parts is None or frame is None:
        return None
    changes, late, now = _columns(frame)
    if not (changes and late):
        return None
    none, whole, alone = (judge(few, lag, *parts, own) for own in (now, None, [*late, *now]))

    def nearly(found: LagTrial) -> bool:
        gained, all_of_it = none.one_step - found.one_step, none.one_step - whole.one_step
        far = found.open_loop <= SLACK * max(whole.open_loop, SMALL) < none.open_loop
        return far and gained > MUCH * all_of_it

    if not nearly(alone):
        return None
    fitted, unjudged = _unjudged(data, frame)
    for actions in _taken(few, frame, parts, []):
        if nearly(judge(few, lag, *parts, actions)):
            return _shortened(fitted, {*actions, *unjudged} - {*changes})
    return Past(lag, tuple(sorted({*late, *now, *unjudged} - {*changes})))


def _judged(
    data: Data, lag: int
) -> tuple[Data, tuple[NDArray[np.bool_], NDArray[np.bool_]] | None, Frame | None]:
    """The agents by whom a past is judged, what is fitted and judged of them, and its frame."""
    few = few_of(data)
    few.geometry = data.geometry  # columns are those of the frame that is fitted
    parts = split(few, lag)
    if parts is None or lag == 1:
        return few, None, None
    return few, parts, Frame.of(few, lag, parts[0], geometry=few.geometry)


def _columns(frame: Frame) -> list[list[int]]:
    """Columns of past changes, past actions and the present action that vary."""
    return [[column for column in columns if column in frame.kept] for columns in frame.optional]


def _unjudged(data: Data, frame: Frame) -> tuple[Frame, set[int]]:
    """The frame of all data, and its columns that are constant where a past is judged.

    Nothing says of them that they are not needed.
    """
    fitted = Frame.of(data, frame.lag, geometry=frame.geometry)
    return fitted, {*fitted.kept} & {*chain(*frame.optional)} - {*frame.kept}


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

    def left(seen: Collection[int]) -> Tensor:
        known = {*seen, *changes}
        return left_of(early, later, [k for k, own in enumerate(terms) if own <= known])

    _, late, now = _columns(frame)
    known = {*now, *changes}
    kept = [k for k, own in enumerate(terms) if own <= known]
    added = Added(early, later, kept, [terms.index({column}) for column in late])
    taken = list(now)
    best, every = left(taken), left([*late, *now])
    while rest := [column for column in late if column not in taken]:
        tried = [
            added.left([k for k, column in enumerate(late) if column in (*taken, own)])
            for own in rest
        ]
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
