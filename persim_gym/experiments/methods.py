"""What is compared: each method learns from a cell's data, and is then asked to predict or to act.

A method is a function from a :class:`~persim_gym.experiments.context.Context` to a
:class:`~persim_gym.experiments.context.Model`. One that is registered here
is known to the command line, the presets and the report; nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gymnasium.spaces import Discrete

from persim_gym import checks
from persim_gym.baselines.model_config import CADM_PAPER, MOREL_PAPER, VANILLA
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.references import Persistence, PooledModel, pooled
from persim_gym.experiments import baseline_methods, trained_inside
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.pooled import PooledDynamics
from persim_gym.experiments.recordings import check_own, population_of
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.simulator import PerSim
from persim_gym.store import SIMULATOR


def _check_simulator(cell: Cell) -> None:
    """Check options of a fit of PerSim."""
    plan_fit(cell.task, options=dict(cell.fit))


@dataclass(frozen=True, slots=True)
class Method:
    """A method that cells can name.

    Attributes:
        name: Its name in cells and on the command line.
        title: Its name in tables.
        make: Learns.
        experiments: Experiments that it can take part in.
        learns: Whether it needs data.
        plans: Whether it needs a planner to act.
        inside: Whether it builds on the simulator of the method ``persim``.
        check: Checks the options of a cell's fit; raises a :class:`ValueError` at a bad one.
        actions: The only kind of actions that it takes, ``"discrete"`` or ``"continuous"``.
        paper: Options of the fit in the preset ``"paper"``, where they are not the usual ones.
    """

    name: str
    title: str
    make: Callable[[Context], Model]
    experiments: tuple[str, ...]
    learns: bool = True
    plans: bool = False
    inside: bool = False
    check: Callable[[Cell], None] = _check_simulator
    paper: tuple[tuple[str, Any], ...] = ()
    actions: str | None = None

    def suits(self, task: str) -> bool:
        """Whether it is for tasks like this one."""
        return self.actions in (None, actions_of(task))


def actions_of(task: str) -> str:
    """The kind of a task's actions, ``"discrete"`` or ``"continuous"``."""
    space = SUITES[task].task().action_space
    return "discrete" if isinstance(space, Discrete) else "continuous"


def fitted_simulator(context: Context, **options: Any) -> PerSim:
    """PerSim of a cell, from disk where another cell has fitted it already.

    Raises:
        ValueError: If what lies there was fitted on other data.
    """
    cell, folder = context.cell, context.folder
    if (folder / SIMULATOR).is_file():
        sim = PerSim.load(folder, device=context.device)
        check_own(cell, folder, "simulator", sim.card)
        return sim
    report = context.on_progress
    sim = PerSim.fit(
        context.data(),
        seed=cell.seed,
        device=context.device,
        out=folder,
        progress=False,
        on_epoch=None if report is None else lambda now: report(now.epoch, now.epochs),
        **{**options, **dict(cell.fit)},
    )
    return sim


def simulator_of(context: Context) -> PerSim:
    """The simulator that a method builds on: that of the method ``persim`` where it is on disk.

    Where it is not, it is fitted inside the method's own folder: cells that run beside each other
    never fit into one folder.
    """
    own, shared = _simulator_places(context)
    return fitted_simulator(shared if (shared.folder / SIMULATOR).is_file() else own)


def lacks_simulator(context: Context) -> bool:
    """Whether a cell's method builds on a simulator that is not on disk."""
    if not METHODS[context.cell.method].inside:
        return False
    return not any((own.folder / SIMULATOR).is_file() for own in _simulator_places(context))


def _simulator_places(context: Context) -> tuple[Context, Context]:
    """The context of the simulator that a method builds on, in its own folder and where shared."""
    # A cell's options are of its simulator where they are checked as such.
    fit = context.cell.fit if METHODS[context.cell.method].check is _check_simulator else ()
    shared = replace(context, cell=replace(context.cell, method="persim", fit=fit))
    return replace(shared, models=context.folder), shared


def _simulator(**options: Any) -> Callable[[Context], Model]:
    def make(context: Context) -> Model:
        sim = fitted_simulator(context, **options)
        return Model(predictor=sim, dynamics=sim, facts=_facts(sim))

    return make


def _facts(sim: PerSim) -> dict[str, Any]:
    """What was fitted and how well, without times: equal fits have equal facts."""
    metrics = sim.card.get("metrics") or {}
    kept = ("chosen", "unexplained", "heldout_error", "heldout_rmse")
    return {
        "fitted_by": sim.card.get("fitted_by"),
        "members": sim.members,
        "rank": sim.ensemble.rank,
        "dataset": sim.card.get("dataset"),
        "metrics": {name: metrics[name] for name in kept if name in metrics},
    }


def _pooled(context: Context) -> Model:
    sim = fitted_simulator(replace(context, data=lambda: pooled(context.data())))
    dynamics = PooledDynamics(sim, context.cell.train_agents)
    return Model(predictor=PooledModel(sim), dynamics=dynamics, facts=_facts(sim))


def _true(context: Context) -> Model:
    suite = SUITES[context.cell.task]
    return Model(dynamics=suite.dynamics(population_of(context.cell)))


def _baseline(name: str, title: str, learn: Callable[..., Any], **options: Any) -> Method:
    """A policy that is learned without a model: it acts, and predicts nothing."""

    def make(context: Context) -> Model:
        policy, facts = learn(context, name, **options)
        return Model(policy=policy, facts=facts)

    return _model_free(name, title, make, options)


def _with_synthetic(name: str, title: str, **options: Any) -> Method:
    """A policy of each test agent that learns from PerSim's synthetic trajectories as well."""

    def make(context: Context) -> Model:
        sim = simulator_of(context)
        made = baseline_methods.of_each_with_synthetic(context, sim, name, **options)
        return Model(policy=made[0], facts=made[1])

    return replace(_model_free(name, title, make, options), inside=True)


def _model_free(
    name: str, title: str, make: Callable[[Context], Model], options: dict[str, Any]
) -> Method:
    def check(cell: Cell) -> None:
        baseline_methods.check_options(name, cell, options)

    longer = PAPER_UPDATES[title.endswith("-P")]
    own = title.lower()
    return Method(own, title, make, REWARD, check=check, paper=(("updates", longer),))


def _inside(algorithm: str, actions: str, penalty: float | None = None) -> Method:
    """Policies of the test agents, trained in their simulators, the last ones of their training.

    Args:
        algorithm: What is trained.
        actions: The kind of actions that it takes.
        penalty: Reward to subtract per unit of disagreement; ``None`` for a plain training.
    """

    def make(context: Context) -> Model:
        sim = simulator_of(context)
        made = trained_inside.policies_inside(context, sim, algorithm, penalty or 0.0)
        return Model(policy=made[0], facts=made[1], training=made[2])

    name, title = f"persim-{algorithm}", f"PerSim-{algorithm.upper()}"
    if penalty is not None:
        name, title = f"{name}-penalty", f"{title}, penalty"
    return Method(
        name, title, make, REWARD, inside=True, check=trained_inside.check_options,
        actions=actions, paper=(("steps", PAPER_STEPS),),
    )  # fmt: skip


def _in_support(context: Context) -> Model:
    """PerSim, planned in over what the data's behaviour would do."""
    sim = simulator_of(context)
    behaviour, facts = baseline_methods.behaviour_of(context)
    return Model(dynamics=sim, proposal=behaviour, facts=_facts(sim) | {"proposal": facts})


def _cadm(name: str, title: str, **options: Any) -> Method:
    """CaDM: it is planned in, with what an episode has shown, and predicts after ten steps."""

    def make(context: Context) -> Model:
        fitted: Any
        fitted, facts = baseline_methods.of_everyone(context, "cadm", **options)
        return Model(predictor=fitted.dynamics, dynamics=fitted.dynamics, facts=facts)

    return _with_model("cadm", name, title, make, CADM_PAPER, options, plans=True)


def _morel(name: str, title: str, *, alone: bool) -> Method:
    """MOReL: its policy acts, and its model predicts; of all agents, or of each on its own."""

    def make(context: Context) -> Model:
        fitted: Any
        if not alone:
            fitted, facts = baseline_methods.of_everyone(context, "morel")
            return Model(predictor=fitted.dynamics, policy=fitted, facts=facts)
        own, facts = baseline_methods.of_each(context, "morel")
        models = {agent: policy.dynamics for agent, policy in own.policies.items()}
        return Model(predictor=baseline_methods.ModelPerAgent(models), policy=own, facts=facts)

    return _with_model("morel", name, title, make, MOREL_PAPER, {})


def _with_model(
    baseline: str,
    name: str,
    title: str,
    make: Callable[[Context], Model],
    paper: dict[str, Any],
    options: dict[str, Any],
    plans: bool = False,
) -> Method:
    def check(cell: Cell) -> None:
        baseline_methods.check_options(baseline, cell, options)

    sizes = tuple(sorted({**paper, **options}.items()))
    return Method(name, title, make, BOTH, plans=plans, check=check, paper=sizes)


def _unlearned(name: str, title: str, experiment: str, model: Model) -> Method:
    return Method(name, title, lambda context: model, (experiment,), learns=False)


#: Updates in the setting of the paper's size, of a single agent and of all; and usual ones.
PAPER_UPDATES = (20_000, 100_000)
ALONE = {"updates": 5_000}
TOGETHER = {"updates": 10_000}

#: Steps of a training in a simulator, in the setting of the paper's size.
PAPER_STEPS = 200_000

DISCRETE, CONTINUOUS = "discrete", "continuous"
REWARD = ("reward",)
BOTH = ("prediction", "reward")
ALL = ("prediction", "reward", "unseen", "latent")

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("persim", "PerSim", _simulator(), ALL, plans=True),
        Method("persim-networks", "PerSim, networks", _simulator(method="sgd"), ALL, plans=True),
        Method(
            "persim-paper",
            "PerSim, the paper's networks",
            _simulator(method="sgd", preset="paper"),
            ALL,
            plans=True,
        ),
        Method("one-for-all", "Pooled model", _pooled, BOTH, plans=True),
        _baseline("bcq", "BCQ-P", baseline_methods.of_everyone, **TOGETHER),
        _baseline("bcq", "BCQ-A", baseline_methods.of_each, **ALONE),
        _baseline("cql", "CQL-P", baseline_methods.of_everyone, **TOGETHER),
        _baseline("cql", "CQL-A", baseline_methods.of_each, **ALONE),
        _with_synthetic("bcq", "PerSim-BCQ-5", **ALONE),
        _with_synthetic("cql", "PerSim-CQL-5", **ALONE),
        replace(_baseline("sfbc", "SfBC-P", baseline_methods.of_everyone), actions=CONTINUOUS),
        replace(_baseline("sfbc", "SfBC-A", baseline_methods.of_each, **ALONE), actions=CONTINUOUS),
        Method(
            "persim-in-support", "PerSim, in support", _in_support, REWARD, plans=True, inside=True
        ),
        _inside("dqn", DISCRETE),
        _inside("dqn", DISCRETE, penalty=1.0),
        _inside("sac", CONTINUOUS),
        # As HalfCheetah's planners.
        _inside("sac", CONTINUOUS, penalty=2.0),
        _cadm("vanilla-cadm", "Vanilla + CaDM", **VANILLA),
        _cadm("pets-cadm", "PE-TS + CaDM"),
        _morel("morel-p", "MOReL-P", alone=False),
        _morel("morel-a", "MOReL-A", alone=True),
        _unlearned("persistence", "Persistence", "prediction", Model(predictor=Persistence())),
        Method("true", "True env + MPC", _true, REWARD, learns=False, plans=True),
        _unlearned("test-policy", "Test policy", "reward", Model(policy="test")),
        _unlearned("random", "Random actions", "reward", Model(policy="random")),
    )
}


def find_method(name: str, experiment: str) -> Method:
    """The method of a name, for an experiment.

    Raises:
        ValueError: If there is none, with the names there are, or it cannot take part.
    """
    if name not in METHODS:
        raise ValueError(checks.unknown("method", name, METHODS))
    method = METHODS[name]
    if experiment not in method.experiments:
        raise ValueError(
            f"{name} takes part in {', '.join(method.experiments)}, not in {experiment}"
        )
    return method
