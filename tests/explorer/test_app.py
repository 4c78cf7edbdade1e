"""The routes of what can be taken away, and who may ask."""

from __future__ import annotations

from typing import Any

import pytest

from persim_gym.explorer.scene import Scene


@pytest.fixture
def exports(scene: Scene) -> Any:
    """The exports alone, without a page."""
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from persim_gym.explorer.app import add_exports, guard_hosts

    made = FastAPI()
    add_exports(made, scene)
    guard_hosts(made, "127.0.0.1")
    return TestClient(made, base_url="http://127.0.0.1:80")


@pytest.mark.slow
def test_exports_are_of_the_view_in_the_address(exports: Any) -> None:
    table = exports.get("/view.csv?agent=P-03&horizon=3&a=values:5,1").text
    assert len(table.splitlines()) == 5
    assert "P-03" in table
    assert "PerSim.load('runs/patients')" in exports.get("/view.py").text
    assert exports.get("/view.png?horizon=3").content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "query", ["agent=nobody", "a=values:9e9,1", "start=x", "show=sodium", "what=1", "b=values:1"]
)
@pytest.mark.parametrize("kind", ["csv", "py", "png"])
def test_what_cannot_be_shown_is_a_sentence(exports: Any, query: str, kind: str) -> None:
    answer = exports.get(f"/view.{kind}?{query}")
    assert answer.status_code == 422
    assert answer.text.startswith("This cannot be shown: ")
    assert answer.text.count("\n") == 1


def test_without_a_truth_there_are_no_frames(exports: Any) -> None:
    assert "no true environment" in exports.get("/frames.png").text


def test_pages_of_other_names_are_refused(exports: Any) -> None:
    assert exports.get("/view.py", headers={"Host": "elsewhere.example"}).status_code == 400
    assert exports.get("/view.py", headers={"Host": "localhost:8000"}).status_code == 200


def test_the_view_of_an_address_begins_where_its_agent_s_does(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")
    from persim_gym.explorer.app import view_of

    default = view_of(scene, "")
    assert default == scene.checked(scene.default_view())
    monkeypatch.setattr(scene.record, "usual_start", lambda index: 2 + index)
    other = view_of(scene, "agent=P-04&horizon=3")
    assert (other.agent, other.horizon) == ("P-04", 3)
    assert other.start == 5
    assert view_of(scene, "agent=P-04&start=2").start == 2
    with pytest.raises(ValueError, match="no agent 'nobody'"):
        view_of(scene, "agent=nobody")


@pytest.mark.parametrize(
    ("host", "guarded"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
     ("192.168.0.5", False), ("mine.example", False)],
)  # fmt: skip
def test_only_on_loopback_names_are_checked(host: str, guarded: bool) -> None:
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")
    from fastapi import FastAPI

    from persim_gym.explorer.app import guard_hosts

    app = FastAPI()
    guard_hosts(app, host)
    assert len(app.user_middleware) == guarded
