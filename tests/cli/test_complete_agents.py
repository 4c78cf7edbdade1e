"""Agents that the shell offers: those of what the line names."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cli.completion import offered


def write_simulator(folder: Path, **card: Any) -> None:
    head = json.dumps({"__metadata__": {"persim_gym": json.dumps(card)}}).encode()
    folder.mkdir(parents=True)
    (folder / "simulator.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    write_simulator(tmp_path / "named", agent_names=["alice", "bob", "bea", "1"])
    write_simulator(tmp_path / "plain", dataset={"agents": 2}, adapted={"2": {}})
    write_simulator(tmp_path / "spaced", agent_names=["Pat 01", "Pat 02"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "simulator.safetensors").write_bytes(b"\xff" * 9)
    write_simulator(tmp_path / "odd", dataset=7)
    data = tmp_path / "minari" / "mine-v0" / "data"
    data.mkdir(parents=True)
    (data / "metadata.json").write_text(json.dumps({"persim_gym": {"agents": "3-4,7"}}))
    (tmp_path / "t.csv").write_text("who,t\nann,1\nann,2\nben,1\n")
    (tmp_path / "s.csv").write_text('t;"who";"x, in mg"\n1,5;ann;2\n2;"ben;2";3\n')
    frame = pd.DataFrame({"t": [1, 2, 3], "who": ["ann", "ann", "ben"]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame[:0].to_parquet(tmp_path / "empty.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plan named --agent ", ["alice", "bob", "bea", "name:1"]),
        ("plan named --agent b", ["bob", "bea"]),
        ("plan named --agent alice,b", ["alice,bob", "alice,bea"]),
        ("train named --agent al", ["alice"]),
        ("equations plain --agent ", ["0", "1", "2"]),
        ("render spaced --agent Pat", ["'Pat 01'", "'Pat 02'"]),
        ("render spaced --agent 'Pat 0", ["'Pat 01'", "'Pat 02'"]),
        ("baseline bcq mine-v0 --agent ", ["3", "4", "7"]),
        ("baseline bcq t.csv --agent-column who --agent a", ["ann"]),
        ("adapt named t.csv --agent-column who --agent ", ["ann", "ben"]),
        ("adapt named s.csv --agent-column who --agent ", ["ann", "'ben;2'"]),
        ("adapt named t.parquet --agent-column who --agent ", ["ann", "ben"]),
        # Nothing is known, and nothing fails.
        ("baseline bcq t.parquet --agent-column t2 --agent ", []),
        ("baseline bcq empty.parquet --agent-column who --agent ", []),
        ("baseline bcq broken.parquet --agent-column who --agent ", []),
        ("plan broken --agent ", []),
        ("plan odd --agent ", []),
        ("plan nothing --agent ", []),
        ("baseline bcq t.csv --agent ", []),
    ],
)
def test_agents_are_offered(line: str, words: list[str]) -> None:
    assert offered(line, "\n") == words


def test_agents_are_offered_without_anything_heavy() -> None:
    code = (
        "import sys; from types import SimpleNamespace as Context\n"
        "from persim_gym.cli.complete_agents import agents\n"
        "assert agents(Context(params={'simulator': 'named'}), '')\n"
        "assert agents(Context(params={'data': 't.csv', 'agent_column': 'who'}), '')\n"
        "sys.exit(','.join({'torch', 'minari', 'pandas'} & {*sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0
