"""The command render."""

from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import pytest

from tests.cli.commands import refuse, run


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["random", "mpc"])
@pytest.mark.usefixtures("shared_store")
def test_render_truth_beside_its_simulator(policy: str, simulator: str, tmp_path: Path) -> None:
    out = tmp_path / "video.gif"
    args = ["render", simulator, "--agent", "1", "--out", str(out), "--steps", "3"]
    assert run(*args, "--policy", policy).stdout == f"{out}\n"
    frames = imageio.mimread(out)
    assert (len(frames), frames[0].shape[:2]) == (4, (432, 1208))


@pytest.mark.slow
def test_render_the_true_environment_alone(tmp_path: Path) -> None:
    out = tmp_path / "video.mp4"
    run("render", "cartpole", "--agent", "1", "--out", str(out), "--steps", "3")
    # Not through imageio's reader of films, which leaves pipes open.
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(out))
    assert frames == 4
    assert seconds == pytest.approx(4 / 50, abs=0.021)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nowhere", "--agent", "0", "--out", "a.gif"), "there is no simulator at nowhere"),
        (("cartpole", "--agent", "500", "--out", "a.gif"), "agent 500 does not exist"),
        (("cartpole", "--agent", "0", "--out", "a.avi"), "--out must end in"),
        (("cartpole", "--agent", "0", "--out", "a.png"), "--out must end in .mp4 or .gif"),
        (("cartpole", "--agent", "0", "--out", "a.gif", "--policy", "x"), "policy 'x'"),
        (("cartpole", "--agent", "0", "--out", "a.gif", "--start", "3"), "--start"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(
    args: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse("render", *args, says=says)
    assert list(tmp_path.iterdir()) == []
