"""The closed-form fit from data to members: choose, fit, prune, resample, draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Rows, Statistics, gather, memory
from persim_gym.learned.closed_form.alternation import LowRankFit, alternate, principal, regauged
from persim_gym.learned.closed_form.basis import Inputs, Monomials
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.closed_form.factors import Factors, posterior
from persim_gym.learned.closed_form.population_sums import Sums
from persim_gym.learned.closed_form.problem import Problem
from persim_gym.learned.closed_form.pruning import prune
from persim_gym.learned.closed_form.search import DEGREES, LOSS, Trial
from persim_gym.learned.closed_form.selection import CHEAP, Choice, Selection
from persim_gym.learned.closed_form.weights import weights_from
from persim_gym.learned.config import ClosedForm
from persim_gym.learned.regression.extrapolation import CLOSE, FAR, extrapolates, outermost
from persim_gym.learned.transition_weights import Floats, precisions

#: Bytes of statistics that are in memory together. Agents beyond that go by in parts, but weights
#: are not begun on fewer than some agents.
MEMORY, FEWEST = 200_000_000, 1000
#: Share of it that a part takes, and most agents of a part.
PART, AGENTS_AT_ONCE = 0.25, 4096
#: Most rounds over all agents, part after part, from weights that have converged on some of them,
#: and by how much the logarithm of the noise must fall in one for another.
SWEEPS, FALL = 10, 1e-3
#: How many times the transitions that the choice has used make a finer fit worth a trial.
PLENTY = 10.0
#: Share of the changes' variance that may be left unexplained by what is taken for the law itself.
#: Where more is, inputs are held closer to the recorded range.
UNEXPLAINED = 1e-3
#: Transitions above which all count alike: so many say enough in any case.
PLENTIFUL = 1_000_000


@dataclass(frozen=True, slots=True)
class ClosedFormFit:
    """A closed-form fit.

    Attributes:
        ensemble: The members, in double precision.
        factors: Each member's posterior of the agents' factors, before draws.
        noise: Variance of what is left, in units of ``scale`` ``[m, d]``.
        choice: How degree, rank and threshold were chosen.
        extrapolates: Whether a noisy record says that it holds beyond what was recorded, too.
    """

    ensemble: PolynomialEnsemble
    factors: Factors
    noise: Tensor
    choice: Choice
    extrapolates: bool = False


def fit_closed_form(
    problem: Problem,
    config: ClosedForm,
    on_trial: Callable[[Trial], None] | None = None,
    on_share: Callable[[float], None] | None = None,
) -> ClosedFormFit:
    """Fit the members.

    Where noise is larger in some transitions than in others a second fit, of the degree and rank
    that were found, listens less to these. It is taken if it predicts agents held out as well. Of
    an approximation none is made: where that listens less it misses more.

    Raises:
        ValueError: If the data do not carry the degree and rank that are asked for.
    """
    found = _fitted(problem, config, on_trial, on_share)
    if not found.extrapolates or len(problem.rows) > PLENTIFUL:
        return found
    left, sizes = _remainder(problem, found)
    weight = precisions(left, sizes, problem.rows.agent.cpu().numpy())
    if weight is None:
        return found
    # Coordinates share their features' sums, and so one weight.
    shared = torch.as_tensor(weight.mean(1), device=problem.rows.target.device)
    weighted = replace(problem, rows=replace(problem.rows, weight=shared))
    best = found.choice.best
    settled = replace(config, degree=best.degree, rank=best.rank)
    again = _fitted(weighted, settled, on_trial, on_share)
    if not again.choice.best.score <= best.score:
        return found
    square = torch.as_tensor(_remainder(problem, again)[0]).square().mean(0).to(again.noise)
    noise = (square / problem.scale.square()).expand_as(again.noise)
    tried = (*found.choice.trials, *again.choice.trials)
    notes = (*dict.fromkeys((*found.choice.notes, *again.choice.notes)),)
    choice = replace(found.choice, best=again.choice.best, fit=again.choice.fit, trials=tried)
    return replace(again, noise=noise, choice=replace(choice, notes=notes))


def _remainder(problem: Problem, found: ClosedFormFit) -> tuple[Floats, Floats]:
    """What a fit leaves of transitions ``[T, d]``, and the sizes that it predicts ``[T, k]``."""
    rows, states = problem.rows.agent, problem.states
    parts = zip(rows.split(8192), states.split(8192), problem.actions.split(8192), strict=True)
    after = torch.cat([found.ensemble.step(a, s.double(), u).mean(0) for a, s, u in parts])
    left = problem.left(after.clone(), problem.next_obs.double())
    change = problem.left(after.clone(), states[:, -after.shape[1] :].double())
    after[:, list(problem.turning)] = 0.0  # where one turns says nothing of size
    return left.cpu().numpy(), torch.cat([after, change], 1).cpu().numpy()


def _fitted(
    problem: Problem,
    config: ClosedForm,
    on_trial: Callable[[Trial], None] | None,
    on_share: Callable[[float], None] | None,
) -> ClosedFormFit:
    """Fit the members, transitions weighted as the problem has them."""
    rng = np.random.default_rng([config.seed, 3])
    selection = Selection(problem, rng, ridge=config.ridge, on_trial=on_trial, on_share=on_share)
    choice = selection.choose(config.degree, config.rank, config.threshold, config.effort)
    begun = None
    if config.degree is None and config.threshold is None:
        begun, choice = _refined(problem, selection, choice, config, rng)
    if begun is None:
        begun = _begin(problem, choice, choice.best.degree, choice.best.threshold, config, rng)
    monomials, fit, stats, learners = begun
    importance = _importance(config.ensemble_size, problem.rows, rng)
    own = importance if learners is None else importance[:, learners]
    fit = _resampled(principal(fit, stats), stats, config, own)
    del stats
    if learners is not None:
        fit = _swept(problem, monomials, fit, config.ridge, importance)
    factors = _all_factors(problem, monomials, fit)
    far = False
    if float(fit.noise.mean()) > UNEXPLAINED:  # noise, or an approximation
        far = _goes_on(problem, monomials, fit, config)
        problem = replace(problem, inputs=problem.inputs.within(FAR if far else CLOSE))
    ensemble = problem.ensemble(
        monomials, LowRankFit(fit.weights, _drawn(factors, rng), fit.noise, fit.rounds)
    )
    return ClosedFormFit(ensemble, factors, fit.noise, choice, far)


#: Basis, fit, statistics, and the agents that these are of (``None`` for all).
Begun = tuple[Monomials, LowRankFit, Statistics, Tensor | None]


def _begin(
    problem: Problem,
    choice: Choice,
    degree: int,
    threshold: float,
    config: ClosedForm,
    rng: np.random.Generator,
) -> Begun:
    """A fit on all agents, or on as many as fit in memory, from that of the choice."""
    monomials, coarse = problem.basis(degree), problem.basis(choice.best.degree)
    learners = _learners(problem.rows, monomials, rng)
    rows = problem.rows if learners is None else problem.rows.of_agents(learners)
    stats = gather(rows, problem.features(monomials))
    known = stats if degree == choice.best.degree else gather(rows, problem.features(coarse))
    start = posterior(known, choice.fit.weights, choice.fit.noise)
    del known
    judged = degree == choice.best.degree and threshold == choice.best.threshold
    # The terms that were judged are kept: decided again, one close to the threshold might go.
    mask = (choice.fit.weights != 0).any(2)[0] if judged and threshold else None
    fit = alternate(stats, start, rounds=config.rounds, mask=mask, ridge=config.ridge)
    if threshold:
        if not judged:
            fit = prune(fit, stats, threshold, config.ridge, rounds=config.rounds)
        used = (fit.weights != 0).any(4).any(2).any(1).any(0)
        monomials, kept = monomials.subset(used.cpu().numpy())
        fit = replace(fit, weights=fit.weights[:, :, :, kept])
        del stats  # before the next are there
        stats = gather(rows, problem.features(monomials))
    return monomials, fit, stats, learners


def _refined(
    problem: Problem,
    selection: Selection,
    choice: Choice,
    config: ClosedForm,
    rng: np.random.Generator,
) -> tuple[Begun | None, Choice]:
    """A finer fit where there are many more transitions than the choice has used.

    What a term is known to falls with the root of their number, and so does the threshold below
    which terms are dropped; each tenfold of them admits one more degree. Where the law has been
    found, agents held out can hardly tell such fits apart, for the difference is in states that
    few of them reach: the finer one is taken unless it is worse.
    """
    best, times = choice.best, len(problem.rows) / len(selection.train)
    explained = float(choice.fit.noise.mean()) <= UNEXPLAINED
    if times < PLENTY or not (explained and best.threshold and best.stable):
        return None, choice
    within = DEGREES[DEGREES.index(best.degree) :][: 1 + int(math.log10(times))]
    degree = max(d for d in within if d == best.degree or problem.basis(d).size <= CHEAP)
    threshold = best.threshold / math.sqrt(times)
    begun = _begin(problem, choice, degree, threshold, config, rng)
    known = gather(selection.known, problem.features(begun[0]))
    trial = selection.judge(begun[0], known, begun[1], degree, threshold)
    if not trial.stable or trial.score > best.score + LOSS:
        return None, choice
    return begun, replace(choice, best=trial, trials=(*choice.trials, trial))


def _learners(rows: Rows, monomials: Monomials, rng: np.random.Generator) -> Tensor | None:
    """Agents that the weights are fitted on first, where all would take too much memory."""
    most = max(FEWEST, MEMORY // memory(1, rows.choices, monomials.size))
    if rows.num_agents <= most:
        return None
    return torch.as_tensor(np.sort(rng.permutation(rows.num_agents)[:most]))


def _goes_on(problem: Problem, monomials: Monomials, fit: LowRankFit, config: ClosedForm) -> bool:
    """Whether a fit is better not held close to what it was fitted on; see ``extrapolation``."""
    units = problem.inputs
    plain = [k for k in range(problem.rows.inputs.shape[1]) if k not in units.angles]
    found = outermost(problem.rows.inputs[:, plain].to(units.centre)) if plain else None
    if found is None:
        return False
    inside, out = found
    chosen = torch.unique(problem.rows.agent[out])
    if len(chosen) > FEWEST:
        chosen = chosen[:: len(chosen) // FEWEST]
    known, rows = (problem.rows.select(r).of_agents(chosen) for r in (slice(None), inside))
    mask = (fit.weights[:1] != 0).any(2)[0]
    before, stats = (gather(part, problem.features(monomials)) for part in (known, rows))
    one = fit.weights[:1], fit.noise[:1]
    whole = LowRankFit(one[0], posterior(before, *one), one[1], fit.rounds)
    again = alternate(
        stats, posterior(stats, *one), rounds=config.rounds, mask=mask, ridge=config.ridge
    )
    place = torch.full((problem.rows.num_agents,), -1)
    place[chosen] = torch.arange(len(chosen))
    judged = (out & (place[problem.rows.agent] >= 0)).nonzero()[:, 0]
    agents = place[problem.rows.agent[judged]]
    states, truth = problem.states[judged].double(), problem.next_obs[judged].double()

    def left(inputs: Inputs, of: LowRankFit) -> Tensor:
        ensemble = replace(problem, inputs=inputs).ensemble(monomials, of)
        return problem.left(ensemble.step(agents, states, problem.actions[judged])[0], truth)

    held, free = (left(units.around(rows.inputs, m), again) for m in (CLOSE, FAR))
    return extrapolates(held, free, left(units, whole), agents)


def _importance(members: int, rows: Rows, rng: np.random.Generator) -> Tensor:
    """How much each agent counts for each member ``[m, N]``; all alike where there is but one."""
    if members == 1:
        return torch.ones(1, rows.num_agents, dtype=torch.float64, device=rows.target.device)
    drawn = rng.exponential(size=(members, rows.num_agents))
    return torch.as_tensor(drawn, device=rows.target.device)


def _resampled(
    fit: LowRankFit, stats: Statistics, config: ClosedForm, importance: Tensor
) -> LowRankFit:
    """Members that see the agents with random importance (a Bayesian bootstrap)."""
    m = config.ensemble_size
    factors = Factors(
        fit.factors.mean.expand(m, -1, -1), fit.factors.covariance.expand(m, -1, -1, -1)
    )
    if m == 1:
        return fit
    mask = (fit.weights != 0).any(2)[0]
    return alternate(
        stats,
        factors,
        rounds=max(5, config.rounds // 10),
        mask=mask,
        ridge=config.ridge,
        importance=importance,
    )


def _swept(
    problem: Problem, monomials: Monomials, fit: LowRankFit, ridge: float, importance: Tensor
) -> LowRankFit:
    """Rounds over all agents, from a fit that some of them have made converge.

    A round is one pass over the data: each part's factors are found, and what they say of the
    weights is added up.
    """
    weights, noise, last = fit.weights, fit.noise, math.inf
    mask = (weights != 0).any(2)[0]
    for number in range(SWEEPS):
        sums: Sums | None = None
        for agents, stats in _parts(problem, monomials):
            part = Sums.of(stats, posterior(stats, weights, noise), importance[:, agents])
            sums = part if sums is None else sums + part
        assert sums is not None
        weights, noise = weights_from(sums, mask, ridge)
        weights, _ = regauged(weights, *sums.population())
        level = float(noise.log().mean())
        fit = replace(fit, weights=weights, noise=noise, rounds=fit.rounds + 1)
        # The first round takes its noise from other agents than the second one.
        if number and last - level < FALL:
            break
        last = level
    return fit


def _parts(problem: Problem, monomials: Monomials) -> Iterator[tuple[slice, Statistics]]:
    """Statistics of all agents, some at a time."""
    each = memory(1, problem.rows.choices, monomials.size)
    most = max(1, min(AGENTS_AT_ONCE, int(PART * MEMORY) // each))
    features = problem.features(monomials)
    for agents, rows in problem.rows.by_agents(most):
        yield agents, gather(rows, features)


def _all_factors(problem: Problem, monomials: Monomials, fit: LowRankFit) -> Factors:
    """Posteriors of all agents, part after part."""
    parts = [posterior(stats, fit.weights, fit.noise) for _, stats in _parts(problem, monomials)]
    return Factors(
        torch.cat([part.mean for part in parts], dim=1),
        torch.cat([part.covariance for part in parts], dim=1),
    )


def _drawn(factors: Factors, rng: np.random.Generator) -> Factors:
    """Each member's factors drawn from its posterior, the mean of the draws kept where it was.

    The members' standard deviation is then the posterior's, and their mean as good as without
    draws.
    """
    m, n, r = factors.mean.shape
    if m == 1 or r == 1:
        return factors
    noise = torch.as_tensor(rng.standard_normal((m, n, r - 1))).to(factors.mean.device)
    root, _ = torch.linalg.cholesky_ex(factors.covariance)
    draws = (root @ noise[..., None])[..., 0]
    draws = (draws - draws.mean(0)) * (m / (m - 1)) ** 0.5
    mean = factors.mean.clone()
    mean[..., 1:] += draws
    return Factors(mean, factors.covariance)
