"""Record the virtual patients of `simglucose`: one trajectory each, and what else might have been.

`patients.parquet` and `what_if.parquet` lie beside this script, which is here to show how they came
about and to make others; it takes a few minutes.
`simglucose` (MIT licence, Jinyu Xie, https://github.com/jxx123/simglucose) is a Python version of
the 2008 UVa/Padova simulator with 30 virtual patients with type 1 diabetes. Its pinned
requirements do not go together with this package's, so it wants an environment of its own:

    python3 -m venv /tmp/simglucose
    /tmp/simglucose/bin/pip install --no-deps simglucose==0.2.11
    /tmp/simglucose/bin/pip install numpy scipy pandas pyarrow matplotlib "setuptools<81"
    /tmp/simglucose/bin/python examples/glucose/record_patients.py

**Behaviour.** The simulator's basal-bolus controller, with the carbohydrate ratio, correction
factor and basal rate that it keeps for each patient, acts on the sensor's reading. A person follows
it imperfectly, and only therefore can the effect of insulin be told from that of the meals: a dose
is off by a random factor, comes early or late, or is forgotten; the basal rate is off by a factor
that changes every few hours. Meals come at random times in random sizes, in proportion to the
patient's need of insulin. Below 70 mg/dL something sweet is eaten, and recorded as any meal; above
250 the controller is asked for a correction, at most once in three hours.

**Columns**, one row every five minutes, all known at the row's time or (actions, reward) after it:

    patient   name, such as adult#001
    minute    since the record began
    glucose   blood glucose as the sensor would read it without noise, mg/dL
    cgm       what the sensor (Guardian RT in the simulator) reads, mg/dL
    trend     glucose less glucose five minutes ago, mg/dL
    insulin_1, insulin_2    insulin on board, U: what was given passes through two tanks in a row,
    carbs_1, carbs_2        carbohydrates on board, g: the same; from the actions before the row
    insulin   given during the next five minutes, U/min (basal and bolus)
    carbs     eaten during the next five minutes, g/min
    reward    less the risk index of the next reading (Kovatchev and others, 1997): 0 at 112 mg/dL,
              -23 at 50, -16 at 220, -57 at 400 mg/dL

The patients' parameters, their weight and the simulator's inner state are not in the file.

**What if.** On the last day, at every dose of a meal, the simulator is set back to that moment and
goes on for two hours with all insulin times 0, 1/2 and 2, everything else as recorded. No such data
are ever seen by a fit: `what_if.parquet` (patient, minute, factor, and glucose_30, glucose_60,
glucose_120, the true glucose so many minutes later) tells whether a simulator knows what insulin
does, or only what usually follows.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd

# The simulator's package registers an environment with an old `gym` when it is imported. Nothing
# of that is needed here: an empty module takes its place.
for missing in ("gym", "gym.envs", "gym.envs.registration"):
    sys.modules[missing] = ModuleType(missing)
sys.modules["gym.envs.registration"].register = lambda **_: None

from simglucose.controller.basal_bolus_ctrller import BBController  # noqa: E402
from simglucose.patient.t1dpatient import Action, T1DPatient  # noqa: E402
from simglucose.sensor.cgm import CGMSensor  # noqa: E402
from simglucose.simulation.env import Observation  # noqa: E402

SAMPLE = 5  # minutes
FACTORS, AFTER = (0.0, 0.5, 2.0), (30, 60, 120)
DAY = 24 * 60
BEFORE = 12 * 60  # minutes that are lived but not recorded: the tanks fill
EATING = 5.0  # g/min: the simulator's patients eat no faster
INSULIN_MINUTES, CARBS_MINUTES = 50.0, 30.0  # mean stay in each of two tanks
MEALS = [  # hour, its deviation, share of the daily need of insulin as carbohydrates, how often
    (7.5, 0.75, 0.9, 0.95),
    (10.0, 0.5, 0.3, 0.4),
    (12.5, 0.75, 1.2, 0.95),
    (15.5, 0.75, 0.4, 0.4),
    (18.5, 0.75, 1.2, 0.95),
    (21.5, 0.5, 0.3, 0.4),
]


def risk(glucose: float) -> float:
    """Blood glucose risk index (Kovatchev and others, 1997): both ends of the scale are a risk."""
    return 10.0 * (1.509 * (np.log(max(glucose, 1.0)) ** 1.084 - 5.381)) ** 2


def plan_of_meals(rng: np.random.Generator, minutes: int, size: float) -> dict[int, float]:
    """Grams at the minutes at which a meal begins, multiples of the sample time."""
    meals: dict[int, float] = {}
    for day in range(-(-minutes // DAY)):
        for hour, deviation, share, chance in MEALS:
            begin = day * DAY + 60.0 * rng.normal(hour, deviation)
            grams = size * share * rng.lognormal(0.0, 0.3)
            if rng.random() < chance:
                meals[max(0, round(begin / SAMPLE) * SAMPLE)] = round(grams)
    return meals


class Person:
    """Somebody who follows the controller imperfectly."""

    def __init__(self, name: str, rng: np.random.Generator, minutes: int, size: float) -> None:
        self.name, self.rng, self.size = name, rng, size
        self.controller = BBController()
        self.meals = plan_of_meals(rng, minutes, size)
        self.doses: dict[int, float] = {}  # grams to dose for, at a minute
        for minute, grams in self.meals.items():
            delay = rng.choice([-15, -10, -5, 0, 5, 10, 15, 30, 45])
            counted = grams * rng.lognormal(0.0, 0.3)
            if rng.random() < 0.9:
                at = max(0, minute + int(delay))
                self.doses[at] = self.doses.get(at, 0.0) + counted
        self.basal_factor, self.basal_until = 1.0, 0
        self.sweet_after = self.correct_after = 0
        self.plate = 0.0

    def act(self, minute: int, reading: float) -> tuple[float, float]:
        """Insulin in U/min and carbohydrates in g/min for the next sample."""
        self.plate += self.meals.get(minute, 0.0)
        if reading < 70 and minute >= self.sweet_after:
            self.plate += round(max(8.0, 0.25 * self.size))
            self.sweet_after = minute + 20
        dose_for = self.doses.get(minute, 0.0)
        if reading > 250 and minute >= self.correct_after:
            dose_for += 1e-6  # the controller corrects only together with a meal
        if dose_for:
            self.correct_after = minute + 180
        carbs = min(self.plate, EATING * SAMPLE) / SAMPLE
        self.plate -= carbs * SAMPLE
        if minute >= self.basal_until:
            self.basal_factor = self.rng.uniform(0.4, 1.6)
            self.basal_until = minute + int(self.rng.uniform(120, 360))
        advice = self.controller.policy(
            Observation(CGM=reading), 0.0, False, sample_time=SAMPLE, patient_name=self.name,
            meal=dose_for / SAMPLE,
        )  # fmt: skip
        return float(advice.basal * self.basal_factor + max(advice.bolus, 0.0)), carbs


class Board:
    """What was taken passes through two tanks in a row and stays a while in each."""

    def __init__(self, minutes: float) -> None:
        self.keep = np.exp(-SAMPLE / minutes)
        self.first = self.second = 0.0

    def take(self, amount: float) -> None:
        self.second = self.keep * self.second + (1 - self.keep) * self.first
        self.first = self.keep * self.first + amount


def at_this_moment(patient: T1DPatient) -> T1DPatient:
    """A patient who is as this one is now, and goes on alone."""
    copy = T1DPatient(patient._params, init_state=patient.state.copy(), t0=patient.t)
    for name in ("_last_Qsto", "_last_foodtaken", "_last_action", "is_eating", "planned_meal"):
        setattr(copy, name, getattr(patient, name))
    return copy


def what_if(moment: T1DPatient, actions: pd.DataFrame, factor: float) -> list[float]:
    """Glucose every sample of the recorded actions, with all insulin times a factor."""
    patient, glucose = at_this_moment(moment), []
    for carbs, insulin in zip(actions.carbs, factor * actions.insulin, strict=True):
        for _ in range(SAMPLE):
            patient.step(Action(CHO=carbs, insulin=insulin))
        glucose.append(patient.observation.Gsub)
    return glucose


def record(name: str, days: int, seed: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One patient's trajectory, and what else might have been on its last day."""
    rng = np.random.default_rng(seed)
    patient = T1DPatient.withName(name)
    # The equations look their parameters up at every evaluation: slow in a pandas Series.
    patient._params = SimpleNamespace(**patient._params.to_dict())
    sensor = CGMSensor.withName("GuardianRT", seed=int(rng.integers(2**31)))
    total = BEFORE + days * DAY
    # In proportion to the carbohydrates that the daily dose of insulin covers.
    controller = BBController()
    quest = controller.quest.set_index("Name").loc[name]
    person = Person(name, rng, total, size=float(np.clip(0.1 * quest.TDI * quest.CR, 12, 60)))
    insulin_board, carbs_board = Board(INSULIN_MINUTES), Board(CARBS_MINUTES)
    rows, before = [], patient.observation.Gsub
    moments: dict[int, T1DPatient] = {}
    for minute in range(0, total + SAMPLE, SAMPLE):
        glucose, reading = patient.observation.Gsub, sensor.measure(patient)
        if not 10 < glucose < 600:
            raise ValueError(f"{name} has left what can be lived with: {glucose:.0f} mg/dL")
        if total - DAY <= minute <= total - AFTER[-1] and person.doses.get(minute, 0.0) > 0:
            moments[minute - BEFORE] = at_this_moment(patient)
        insulin, carbs = person.act(minute, reading)
        rows.append(
            {
                "minute": minute - BEFORE,
                "glucose": glucose,
                "cgm": reading,
                "trend": glucose - before,
                "insulin_1": insulin_board.first,
                "insulin_2": insulin_board.second,
                "carbs_1": carbs_board.first,
                "carbs_2": carbs_board.second,
                "insulin": insulin,
                "carbs": carbs,
            }
        )
        before = glucose
        for _ in range(SAMPLE):
            patient.step(Action(CHO=carbs, insulin=insulin))
        insulin_board.take(insulin * SAMPLE)
        carbs_board.take(carbs * SAMPLE)
    table = pd.DataFrame(rows)
    table.insert(0, "patient", name)
    # The last row is the state that the last action led to; nothing is known after it.
    table["reward"] = -table.glucose.shift(-1, fill_value=glucose).map(risk)
    others = []
    for minute, moment in moments.items():
        actions = table[table.minute.between(minute, minute + AFTER[-1] - SAMPLE)]
        recorded = table.glucose[actions.index + 1].to_numpy()
        if not np.allclose(what_if(moment, actions, 1.0), recorded, atol=1e-3):
            raise ValueError(f"{name}, minute {minute}: a copy of the patient does not go on alike")
        for factor in FACTORS:
            glucose = what_if(moment, actions, factor)
            values = [round(glucose[after // SAMPLE - 1], 2) for after in AFTER]
            others.append((name, minute, factor, *values))
    columns = ["patient", "minute", "factor", *(f"glucose_{after}" for after in AFTER)]
    return table[table.minute >= 0], pd.DataFrame(others, columns=columns)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all."""
    table["minute"] = table.minute.astype("int32")
    table = table.astype(dict.fromkeys(table.columns[2:], "float32"))
    unfinished = path.with_name(path.name + ".part")
    table.to_parquet(unfinished, index=False, compression="zstd", compression_level=19)
    os.replace(unfinished, path)
    print(f"{len(table)} rows, {path.stat().st_size / 1e3:.0f} kB: {path}")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--days", type=int, default=5)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, default=Path(__file__).parent, help="a folder")
    given = options.parse_args()
    groups = ("adolescent", "adult", "child")
    names = [f"{group}#{number:03d}" for group in groups for number in range(1, 11)]
    recorded, others = [], []
    for i, name in enumerate(names):
        table, other = record(name, given.days, [given.seed, i])
        recorded.append(table)
        others.append(other)
        glucose = table.glucose
        print(
            f"{name}: {len(glucose)} rows, glucose {glucose.min():.0f} to {glucose.max():.0f}, "
            f"{100 * glucose.between(70, 180).mean():.0f} % of the time in 70 to 180 mg/dL",
            flush=True,
        )
    # A hundredth of a mg/dL is more than any sensor tells, and keeps the file small.
    digits = dict.fromkeys(recorded[0].columns[2:], 2)
    digits |= {"cgm": 1, "insulin_1": 3, "insulin_2": 3, "insulin": 5}
    write(pd.concat(recorded, ignore_index=True).round(digits), given.out / "patients.parquet")
    write(pd.concat(others, ignore_index=True), given.out / "what_if.parquet")


if __name__ == "__main__":
    main()
