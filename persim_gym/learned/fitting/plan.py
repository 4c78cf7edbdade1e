"""What a fit is to do: which families may be used, and how each is configured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persim_gym import checks
from persim_gym.learned.config import CHOICE, FAMILIES, METHODS, SHARED, Config
from persim_gym.learned.presets import preset_config

#: Tasks that ``"auto"`` does not try in closed form. HalfCheetah's contacts are no polynomial: of
#: its 25 inputs one of degree 2 can be afforded, which leaves a tenth of a step's variance.
NETWORKS_AT_ONCE = ("half-cheetah",)


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What a fit is to do: the method, and the configuration of each family it may use.

    Attributes:
        method: A family's name, or ``"auto"``.
        preset: Preset of the networks.
        configs: By family.
        lag: Past observations that are seen; ``None`` where the data decide.
    """

    method: str
    preset: str
    configs: Mapping[str, Any]
    lag: int | None

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return int(next(iter(self.configs.values())).seed)

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types; of several families by name."""
        found = {name: own.to_json() for name, own in self.configs.items()}
        return found.get(self.method, found)


def plan_fit(
    task_name: str,
    *,
    config: Config | None = None,
    method: str = "auto",
    preset: str = "default",
    options: Mapping[str, Any],
    known: bool = True,
) -> FitPlan:
    """Decide by which family data of a task are fitted, and with what configuration.

    With ``"auto"``, a preset other than the default or an option that one family alone has chooses
    that family; else the families are compared, but for tasks of which it is known that no
    polynomial is their law.

    Args:
        task_name: The task's name; empty where the data have none.
        config: A family's configuration, which then decides everything.
        method: A family's name, or ``"auto"``.
        preset: Of networks.
        options: Fields that differ from the defaults.
        known: Whether the task observes its whole state: nothing has to be found in the past.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the method, the preset or an option is unknown, or an option invalid.
    """
    options = checks.a_mapping("options", options)
    if not isinstance(task_name, str):
        raise TypeError(f"task_name must be text, got {checks.shown(task_name)}")
    if not isinstance(preset, str):
        raise TypeError(f"preset must be a name, got {checks.shown(preset)}")
    if config is not None:
        return _configured(config, method, preset, options)
    if method not in METHODS:
        raise ValueError(checks.unknown("method", method, METHODS))
    fields = {
        name: {field.name for field in dataclasses.fields(own)} for name, own in FAMILIES.items()
    }
    every = set().union(*fields.values())
    if unknown := sorted(set(options) - every):
        raise ValueError(
            f"unknown option {unknown[0]!r} of a fit{checks.meant(unknown[0], every)}: there are "
            f"{', '.join(sorted(every))}"
        )
    names: tuple[str, ...] = (method,)
    if method == "auto":
        method, names = _named_by(set(options), fields, preset, task_name)
    if preset != "default" and method != "sgd":
        raise ValueError(f"preset {preset!r} is one of networks, method {method!r} has none")
    configs = {}
    for name in names:
        kept = {k: v for k, v in options.items() if k in fields[name] or k not in SHARED}
        start = preset_config(preset, task_name) if name == "sgd" else FAMILIES[name]()
        configs[name] = start.replaced(kept)
    lag = options.get("lag", None if method == "auto" and not known and names == CHOICE else 1)
    return FitPlan(method, preset, configs, lag)


def _configured(config: Config, method: str, preset: str, options: Mapping[str, Any]) -> FitPlan:
    """The plan of a configuration that was given."""
    names = [name for name, own in FAMILIES.items() if isinstance(config, own)]
    if not names:
        kinds = ", ".join(own.__name__ for own in FAMILIES.values())
        raise TypeError(f"config must be one of {kinds}, got {checks.shown(config)}")
    if options or method not in ("auto", names[0]) or preset != "default":
        raise ValueError(
            "config= decides everything: give no method, preset or option beside it; "
            "dataclasses.replace makes another configuration"
        )
    return FitPlan(names[0], preset, {names[0]: config}, config.lag)


def _named_by(
    options: set[str], fields: Mapping[str, set[str]], preset: str, task_name: str
) -> tuple[str, tuple[str, ...]]:
    """The method that options ask for, and the families that it may use."""
    fitting = [name for name in FAMILIES if options - {"effort"} <= fields[name]]
    if not fitting:
        if (one := sorted(options - fields["als"])) and (other := sorted(options - fields["sgd"])):
            raise ValueError(
                f"{one[0]!r} is an option of networks (method 'sgd') and {other[0]!r} one of the "
                "closed form (method 'als'): a fit is one or the other"
            )
        raise ValueError(f"no family has all of {', '.join(sorted(options))}: name a method")
    if preset != "default" or (task_name in NETWORKS_AT_ONCE and "sgd" in fitting):
        return "sgd", ("sgd",)
    if options <= set(SHARED):
        return "auto", CHOICE
    if options <= {*SHARED, "rank"}:
        return "auto", ("als", "sgd")
    return fitting[0], (fitting[0],)
