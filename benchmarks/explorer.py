"""How long the explorer takes from a slider to the curve, and the screenshots of its page.

    python benchmarks/explorer.py            # times, of small simulators that are made for it
    python benchmarks/explorer.py --shots    # docs/images/explorer-*.png instead

A move is a value that a slider is given in Chromium; its time ends when the first curve's path has
changed in the document. Beside it stand the server's own part (courses and what is drawn of them)
and the processor time of that, which a busy machine leaves as it is.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MOVES = 50

#: Moves the first slider of plan A, and says in milliseconds when the first curve has followed.
MOVE = """async (value) => {
  const slider = document.querySelector(".plan.a .slider input");
  const curve = document.querySelector("path.mean"), before = curve.getAttribute("d");
  const began = performance.now();
  const moved = new Promise((done) => new MutationObserver((_, own) => {
    if (curve.getAttribute("d") === before) return;
    own.disconnect();
    done(performance.now() - began);
  }).observe(curve, {attributes: true}));
  slider.value = value;
  slider.dispatchEvent(new Event("input", {bubbles: true}));
  return await moved;
}"""


@dataclass(frozen=True)
class Case:
    """A simulator that is explored: folder, options of the command, a view, slider values."""

    name: str
    folder: str
    query: str
    values: tuple[float, ...]
    options: tuple[str, ...] = field(default=())


COLUMNS = (
    "--data", "patients.csv", "--agent-column", "patient", "--time-column", "week",
    "--state", "ferritin,hb", "--action", "iron,epo", "--reward", "reward",
)  # fmt: skip
CASES = (
    Case("CartPole, closed form, 50 steps", "cartpole", "horizon=50&a=values:0", (1, 0)),
    Case("patients, hierarchical, 39 steps", "patients", "a=values:10,1", (5, 15), COLUMNS),
    Case("the same, two plans", "patients", "a=values:10,1&b=hold", (5, 15), COLUMNS),
    Case(
        "patients, latent networks, 39 steps",
        "latent",
        "a=values:10,1",
        (5, 15),
        COLUMNS,
    ),
)


def write_patients(path: Path, patients: int = 40, weeks: int = 40) -> None:
    """Patients who answer iron and epoetin each in their own way, with noise of measurement."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "week", "ferritin", "hb", "iron", "epo", "reward"])
        for k in range(patients):
            take, lose, gain, level = rng.uniform((0.5, 0.05, 0.3, 9), (1.2, 0.12, 0.7, 10.5))
            ferritin, hb = rng.uniform(80, 160), level
            iron, epo = 0.0, 1.0
            for week in range(weeks):
                if week % 4 == 0:
                    iron, epo = rng.choice([0, 5, 10, 15, 20, 30]), rng.choice([0, 0.5, 1, 1.5, 2])
                seen = ferritin + rng.normal(0, 2), hb + rng.normal(0, 0.05)
                worth = -abs(hb - 11)
                writer.writerow(
                    [f"P-{k + 1:02d}", week, *(f"{x:.3f}" for x in seen), iron, epo, f"{worth:.3f}"]
                )
                grown = gain * epo * ferritin / (ferritin + 60)
                ferritin += take * iron - lose * ferritin
                hb += grown - 0.25 * (hb - level + 1)


def make(root: Path) -> None:
    """Data and simulators of all cases."""
    from persim_gym.learned import Hierarchical, PerSim
    from persim_gym.offline import read_table, record

    PerSim.fit(record("cartpole", "random", 500, progress=False), progress=False).save(
        root / "cartpole"
    )
    write_patients(root / "patients.csv")
    data = read_table(
        root / "patients.csv", agent="patient", time="week", state=["ferritin", "hb"],
        action=["iron", "epo"], reward="reward",
    )  # fmt: skip
    PerSim.fit(data, Hierarchical(), progress=False).save(root / "patients")
    PerSim.fit(data, method="latent", progress=False).save(root / "latent")


@contextmanager
def served(root: Path, case: Case) -> Iterator[str]:
    """The address of the explorer as long as the block runs."""
    command = [sys.executable, "-m", "persim_gym", "explore", case.folder, *case.options]
    with subprocess.Popen(
        [*command, "--no-browser"], cwd=root, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError(f"the explorer of {case.folder} did not start")
        try:
            yield line.split()[0] + "?" + case.query
        finally:
            server.send_signal(signal.SIGINT)


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("there is no Chromium on this machine")
    with sync_playwright() as p:
        yield p.chromium.launch(executable_path=path, args=["--no-sandbox"])


def opened(browser: Any, address: str, **context: Any) -> Any:
    page = browser.new_page(**context)
    page.goto(address)
    page.wait_for_selector("path.mean[d*=L]")
    page.wait_for_timeout(1500)  # what follows when nothing changes has followed
    return page


def moves(browser: Any, address: str, case: Case) -> list[float]:
    page = opened(browser, address)
    found = []
    for k in range(MOVES):
        # Never the value of the move before, nor one whose curve is the same.
        value = case.values[k % 2] + (0 if case.folder == "cartpole" else 0.1 * k)
        found.append(page.evaluate(MOVE, value))
        page.wait_for_timeout(60)
    page.close()
    return found[3:]


def of_the_server(root: Path, case: Case) -> tuple[float, float]:
    """Milliseconds of the server's part, and of its processor."""
    from persim_gym.explorer.drawing import charts
    from persim_gym.explorer.record import Record
    from persim_gym.explorer.scene import Scene
    from persim_gym.explorer.view import View
    from persim_gym.learned import PerSim
    from persim_gym.offline import read_table, read_transitions

    sim = PerSim.load(root / case.folder)
    if case.folder == "cartpole":
        data = read_transitions("persim/cartpole/random-v0")
    else:
        data = read_table(
            root / "patients.csv", agent="patient", time="week", state=["ferritin", "hb"],
            action=["iron", "epo"], reward="reward",
        )  # fmt: skip
    scene = Scene(sim, Record(sim, data))
    view = scene.checked(View.from_query(parse_qsl(case.query), scene.default_view()))
    walls, works = [], []
    for _ in range(MOVES):
        wall, work = time.perf_counter(), time.process_time()
        charts(scene, view, scene.courses(view))
        walls.append(time.perf_counter() - wall)
        works.append(time.process_time() - work)
    return 1000 * statistics.median(walls), 1000 * statistics.median(works)


def measure(root: Path) -> None:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; milliseconds, medians")
    print(f"{'':42}{'server':>8}{'its CPU':>9}{'to curve':>10}{'fastest':>9}{'9 of 10':>9}")
    with chromium() as browser:
        for case in CASES:
            wall, work = of_the_server(root, case)
            with served(root, case) as address:
                ms = sorted(moves(browser, address, case))
            middle, ninth = statistics.median(ms), ms[int(0.9 * len(ms))]
            print(f"{case.name:42}{wall:8.1f}{work:9.1f}{middle:10.1f}{ms[0]:9.1f}{ninth:9.1f}")


def shots(root: Path) -> None:
    """The page on a desk, on a phone, and in the dark."""
    patients = Case(
        "", "patients", "agent=P-03&horizon=30&a=values:10,1;0,1;20,1.5;5,0.5&b=recorded&step=12",
        (), COLUMNS,
    )  # fmt: skip
    with chromium() as browser:
        with served(root, patients) as address:
            for name, context in {
                "desktop": {"viewport": {"width": 1280, "height": 860}},
                "narrow": {"viewport": {"width": 420, "height": 900}},
            }.items():
                page = opened(browser, address, **context)
                if name == "narrow":
                    page.locator(".said").scroll_into_view_if_needed()
                    page.evaluate(
                        "() => scrollTo(0, document.querySelector('.said').offsetTop - 8)"
                    )
                page.screenshot(path=IMAGES / f"explorer-{name}.png")
        carts = Case("", "cartpole", "agent=7&horizon=40&a=values:1;0;1;0&step=20", ())
        with served(root, carts) as address:
            page = opened(
                browser, address, viewport={"width": 1280, "height": 1500}, color_scheme="dark"
            )
            page.screenshot(path=IMAGES / "explorer-dark.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", action="store_true", help="make the screenshots instead")
    parser.add_argument("--work", type=Path, help="keep the simulators in a folder, or use its own")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if wanted.work is None else wanted.work.resolve()
        root.mkdir(exist_ok=True)
        os.environ["MINARI_DATASETS_PATH"] = str(root / "minari")
        if not (root / "latent").exists():
            make(root)
        (shots if wanted.shots else measure)(root)


if __name__ == "__main__":
    main()
