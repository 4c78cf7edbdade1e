"""What stands beside the page of a demo."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from persim_gym.demo.run import STAGES
from tests.demo.small import TINY, Finished

pytestmark = pytest.mark.slow


def test_all_numbers_are_in_a_file(finished: Finished) -> None:
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    assert results["settings"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert results["data"]["id"] == "persim/cartpole/random-10-agents-seed-0-v0"
    assert results["data"]["agents"] == 10
    errors = results["open_loop"]["errors"]
    assert list(errors) == ["PerSim", "pooled model", "persistence"]
    assert [row["agent"] for row in errors["PerSim"]["agents"]] == [0, 1, 2, 3, 4]
    assert set(results["open_loop"]["latent"]["r2"]) == {"force", "length"}
    episodes = {
        name: {agent: row["episodes"] for agent, row in of.items()}
        for name, of in results["returns"].items()
    }
    everyone = dict.fromkeys("01234", 2)
    assert episodes == {
        "random actions": everyone,
        "trained in the simulator": {"3": 2},
        "MPC, planned in the simulator": dict.fromkeys("01234", 1),
        "MPC, planned in the true dynamics": dict.fromkeys("01234", 1),
    }
    assert all(value <= 6 for row in results["returns"]["random actions"].values()
               for value in row["values"])  # fmt: skip
    assert set(results["seconds"]) == set(STAGES[:-1])
    assert json.loads((page.parent / "policy" / "policy.json").read_text())["agent"] == 3


def test_the_command_names_the_folder(finished: Finished) -> None:
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    assert re.fullmatch(r"persim-gym demo --task cartpole --seed 0 --out .*out", results["command"])
