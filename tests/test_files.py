"""Files appear whole or not at all: kills, full disks and other writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from persim_gym import files, store
from persim_gym.envs.rendering import write_video
from persim_gym.learned import PerSim
from persim_gym.offline import record

posix = pytest.mark.skipif(files.fcntl is None, reason="a system without locks on files")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return record("mountain-car", agents=4, max_episode_steps=60, progress=False).id


def run(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


# -- writers that are killed -----------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from persim_gym import files
with files.replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_the_next_writer_takes_away_what_a_killed_one_has_left(tmp_path: Path) -> None:
    path = tmp_path / "out" / "report[1].json"
    assert run(KILLED, path).returncode == -signal.SIGKILL
    (path.parent / ".report[1].json.bak.d").mkdir()
    other = path.with_name("report[1].json2")
    files.write_text(other, "other")
    assert len(os.listdir(path.parent)) == 3
    with files.replacing(path) as running:
        # A second writer leaves alone what the first is at.
        files.write_text(path, "second")
        assert running.exists()
        running.write_text("first")
    assert path.read_text() == "first"
    assert sorted(os.listdir(path.parent)) == [".report[1].json.bak.d", path.name, other.name]


@pytest.mark.slow
@posix
def test_a_fit_takes_away_what_a_killed_one_has_left(tmp_path: Path, data: str) -> None:
    out = tmp_path / "out"
    for name in (store.CHECKPOINT, store.SIMULATOR):
        assert run(KILLED, out / name).returncode == -signal.SIGKILL
    assert len(os.listdir(out)) == 2
    PerSim.fit(data, method="als", degree=1, rank=2, out=out, progress=False)
    assert sorted(os.listdir(out)) == ["simulator.json", store.SIMULATOR]


BETWEEN = """
import os, signal, sys
from persim_gym import store
from persim_gym.learned import PerSim

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

store._repeat_beside = kill
sim = PerSim.load(sys.argv[1])
sim.adapt()
sim.save(sys.argv[1])
"""


@pytest.mark.slow
@posix
@pytest.mark.parametrize("there", [True, False])
def test_the_card_beside_is_that_of_the_simulator(tmp_path: Path, data: str, there: bool) -> None:
    PerSim.fit(data, method="als", degree=1, rank=2, out=tmp_path / "out", progress=False)
    beside = tmp_path / "out" / "simulator.json"
    old = beside.read_text()
    if not there:
        beside.unlink()
        PerSim.load(tmp_path / "out")
        assert beside.read_text() == old
    assert run(BETWEEN, tmp_path / "out").returncode == -signal.SIGKILL
    assert beside.read_text() == old, "the kill came too late"
    sim = PerSim.load(tmp_path / "out")
    assert beside.read_text() != old
    sim.save(tmp_path / "again")
    assert beside.read_text() == (tmp_path / "again" / "simulator.json").read_text()


# -- the same again --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"method": "als", "degree": 2, "rank": 2}, {"method": "sgd", "epochs": 2}]
)
def test_equal_fits_give_equal_files(
    tmp_path: Path, data: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(np.cumsum(np.arange(10_000.0)).tolist())
    for name in ("one", "other"):
        with monkeypatch.context() as patched:
            # The second takes longer.
            patched.setattr("time.perf_counter", lambda: next(clock))
            patched.setattr("time.monotonic", lambda: next(clock))
            sim = PerSim.fit(data, out=tmp_path / name, progress=False, save_every=1e9, **options)
        assert sim.card["metrics"]["seconds"] > 0
    for name in (store.SIMULATOR, "simulator.json"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("one", "other"))
        assert one == other


# -- a full disk -----------------------------------------------------------------------------------

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["persim-gym", *sys.argv[2:]]
from persim_gym.cli import app
app()
"""


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "fit {data} --out {out} --method als --degree 2",
        "fit {data} --out {out} --epochs 1 --method sgd",
        "adapt {sim} more-v0 --out {out}",
        "render {sim} --agent 0 --out {out}/film.mp4 --steps 10",
        "render {sim} --agent 0 --out {out}/film.gif --steps 10",
        "datasets show {data} --plot {out}/card.png",
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    command: str, tmp_path: Path, data: str
) -> None:
    sim, out = tmp_path / "sim", tmp_path / "new" / "out"
    if "{sim}" in command:
        PerSim.fit(data, method="als", degree=1, rank=2, out=sim, progress=False)
    if "more-v0" in command:
        record("mountain-car", agents=6, max_episode_steps=60, dataset_id="more-v0", progress=False)
    words = command.format(data=data, sim=sim, out=out).split()
    done = run(LIMITED, 2000, *words)
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1
    assert "cannot write" in said[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
    assert run(LIMITED, 10**8, *words).returncode == 0


def test_a_reserve_that_is_not_there_is_seen_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    path = tmp_path / "a" / "b" / "file"
    with pytest.raises(OSError, match=r"cannot write .*file: .*another 1\.5 kB are needed; make"):
        files.write_bytes(path, bytes(1500))
    assert not (tmp_path / "a").exists()
    files.write_bytes(path, bytes(900))


def test_a_place_that_is_none(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "here")
    for path in (tmp_path / "file" / "below", tmp_path / "data"):
        with pytest.raises(OSError, match=rf"cannot write {path}: .*choose another place"):
            files.write_text(path, "there")
    assert sorted(os.listdir(tmp_path)) == ["data", "file"]


def test_a_video_that_the_encoder_has_not_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: the encoder is a program of its own."""
    frame = np.zeros((16, 16, 3), np.uint8)
    monkeypatch.setattr("imageio_ffmpeg.count_frames_and_secs", lambda path: (4, 0.2))
    with pytest.raises(OSError, match="the encoder wrote 4 of 5 frames"):
        write_video(tmp_path / "film.mp4", [frame] * 5, 20)
    assert os.listdir(tmp_path) == ["data"]
    write_video(tmp_path / "film.mp4", [frame] * 4, 20)
