"""From data to a decision: what a validation catches, and what it cannot, against the known truth.

Ten virtual patients (glucose/record_patients.py says how they came about), whose true response to
other doses is known. Four records of them, or of patients like them, are judged before anybody
plans with them:

1. the record as it is;
2. one in which the sensor of one patient has begun to read another patient;
3. one in which every dose follows from the glucose, so that nothing was ever tried;
4. one in which nobody wrote down the meals.

The second and third are caught. The fourth is not: its simulator predicts the coming hour well, and
is wrong about what a dose does. The numbers are those of docs/protocol.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import shared
from numpy.typing import NDArray

from persim_gym.evaluation.validation import Validation
from persim_gym.learned import Hierarchical, PerSim
from persim_gym.offline import Transitions, read_table

FOLDER = Path(__file__).parent / "glucose"
STATE = ["glucose", "trend", "insulin_1", "insulin_2", "carbs_1", "carbs_2"]
SAMPLE, DAY = 5, 288  # minutes, and rows of a day
HORIZONS = (6, 12, 24)  # half an hour, one hour, two
FIT = Hierarchical(degree=1, ensemble_size=1)


def read(patients: int, *, meals: bool = True) -> Transitions:
    """Four days of adults; without meals nobody wrote them down."""
    table = pd.read_parquet(FOLDER / "patients.parquet")
    names = sorted(name for name in set(table.patient) if name.startswith("adult"))[:patients]
    return read_table(
        table[table.patient.isin(names)],
        agent="patient",
        time="minute",
        state=STATE if meals else STATE[:4],
        action=["insulin", "carbs"] if meals else ["insulin"],
        name="glucose",
    )


def mixed_up(data: Transitions, agent: int, other: int) -> Transitions:
    """The last day of one patient with another patient's readings: a sensor on the wrong arm."""
    obs, next_obs = data.obs.copy(), data.next_obs.copy()
    last = data.step >= data.step.max() - DAY
    own, strange = (np.flatnonzero((data.agent == k) & last) for k in (agent, other))
    for values, source in ((obs, data.obs), (next_obs, data.next_obs)):
        values[own, :2] = source[strange, :2]
    return dataclasses.replace(data, obs=obs, next_obs=next_obs, changes=None)


def by_a_rule(patients: int, days: int = 4) -> tuple[Transitions, NDArray[np.float64]]:
    """Patients who dose by their glucose alone, and how far a unit truly lowers each of them."""
    rng = np.random.default_rng(0)
    effect = rng.uniform(4, 12, patients)
    glucose = np.full((patients, days * DAY // 6 + 1), 140.0)
    for t in range(glucose.shape[1] - 1):
        now = glucose[:, t]
        change = 0.1 * (160 - now) - effect * 0.01 * now + rng.normal(0, 6, patients)
        glucose[:, t + 1] = now + change
    agent = np.repeat(np.arange(patients), glucose.shape[1] - 1)
    obs = glucose[:, :-1].reshape(-1, 1)
    nothing = np.zeros(len(agent))
    data = Transitions(
        agent=agent, episode=agent, obs=obs, next_obs=glucose[:, 1:].reshape(-1, 1),
        action=0.01 * obs, reward=nothing, terminated=nothing, truncated=nothing,
        num_agents=patients, task_name="by a rule", obs_names=["glucose"],
        action_names=["insulin"],
    )  # fmt: skip
    return data, effect


def effects(sim: PerSim, data: Transitions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What no insulin for two hours changes at meals, mg/dL: as predicted, and truly ``[n]``."""
    others = pd.read_parquet(FOLDER / "what_if.parquet")
    others = others[others.patient.isin(data.agent_names) & (others.factor == 0)]
    row_of = {
        (data.agent_names[agent], step * SAMPLE): row
        for row, (agent, step) in enumerate(zip(data.agent, data.step, strict=True))
    }
    rows = np.array([row_of[key] for key in zip(others.patient, others.minute, strict=True)])
    ahead = rows[:, None] + np.arange(2 * 60 // SAMPLE)
    given = data.action[ahead]
    without = given.copy()
    without[:, :, 0] = 0
    predicted = [
        sim.rollout(data.agent[rows], data.obs[rows], actions).mean(0)[:, -1, 0]
        for actions in (given, without)
    ]
    true = others.glucose_120.to_numpy() - data.next_obs[ahead[:, -1], 0]
    return predicted[1] - predicted[0], true


def judged(title: str, data: Transitions, out: Path | None) -> tuple[PerSim, Validation]:
    """Fit a record, validate it, and say what the page says of glucose and of doses."""
    print(f"\n{title}")
    sim = PerSim.fit(data, FIT, progress=False)
    found = sim.validate(data, horizons=HORIZONS)
    assert found.support is not None
    (split,) = found.splits
    for text in (*(r.text for r in split.verdict.readings[:1]), *split.verdict.warnings):
        print(f"  {text}")
    for text in found.support["warnings"] or found.support["sentences"][:1]:
        print(f"  {text}")
    if out is not None:
        print(f"  page: {found.save(out / title.split('.')[0])}")
    return sim, found


def said(sim: PerSim, data: Transitions) -> None:
    """How far a simulator's answer is from the truth."""
    predicted, true = effects(sim, data)
    print(
        f"  known truth: no insulin for two hours raises glucose by {true.mean():.0f} mg/dL; "
        f"the simulator says {predicted.mean():.0f}"
    )


def main(patients: int, out: Path | None) -> None:
    whole, blind = read(patients), read(patients, meals=False)
    early = whole.step < 4 * DAY  # the doses whose effect is known were given on the fifth day
    sim, _ = judged("1. The record as it is", whole.select(early), out)
    said(sim, whole)
    judged("2. One sensor reads another patient", mixed_up(whole.select(early), 5, 2), out)
    data, effect = by_a_rule(patients)
    sim, _ = judged("3. Every dose follows from the glucose", data, out)
    agents, now = np.arange(patients), np.full((patients, 1), 140.0, dtype=np.float32)
    doses = [np.full((patients, 1), dose, dtype=np.float32) for dose in (1.0, 2.0)]
    less, more = (sim.predict(agents, now, dose)[:, 0] for dose in doses)
    print(
        f"  known truth: a unit lowers glucose by {effect.mean():.1f} mg/dL; the simulator says "
        f"{(less - more).mean():.1f}"
    )
    sim, _ = judged("4. Nobody wrote down the meals", blind.select(early), out)
    said(sim, blind)


if __name__ == "__main__":
    options = shared.parser(__doc__)
    options.add_argument("--out", type=Path, help="a folder for the four pages")
    given = options.parse_args()
    with shared.workplace(given.quick):
        main(patients=6 if given.quick else 10, out=given.out)
