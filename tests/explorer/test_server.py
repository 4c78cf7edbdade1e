from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persim_gym.explorer import server
from persim_gym.explorer.scene import Scene


def test_a_free_port_on_loopback() -> None:
    with server.bound_socket("127.0.0.1", 0) as one, server.bound_socket("127.0.0.1", 0) as two:
        addresses = {server.address_of(one), server.address_of(two)}
    assert len(addresses) == 2
    assert all(address.startswith("http://127.0.0.1:") for address in addresses)


def test_what_is_everywhere_is_opened_here() -> None:
    with server.bound_socket("0.0.0.0", 0) as listening:
        assert server.address_of(listening).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["256.1.1.1", "x" * 300, "a b"])
def test_an_address_that_cannot_be_had(host: str) -> None:
    with pytest.raises(ValueError, match="choose another --host or --port"):
        server.bound_socket(host, 0)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match="choose another --host or --port"):
            server.bound_socket("127.0.0.1", taken.getsockname()[1])


@pytest.mark.slow
def test_what_computes_needs_no_library_of_the_web() -> None:
    code = """
import sys
import persim_gym.explorer.blocks, persim_gym.explorer.drawing, persim_gym.explorer.exports
import persim_gym.explorer.proposal, persim_gym.explorer.latent_map, persim_gym.explorer.server
assert not {"nicegui", "fastapi", "uvicorn"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# -- routes ----------------------------------------------------------------------------------------


@pytest.fixture
def client(scene: Scene) -> Any:
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
def test_exports_are_of_the_view_in_the_address(client: Any) -> None:
    table = client.get("/view.csv?agent=P-03&horizon=3&a=values:5,1").text
    assert len(table.splitlines()) == 5
    assert "P-03" in table
    assert "PerSim.load('runs/patients')" in client.get("/view.py").text
    assert client.get("/view.png?horizon=3").content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "query", ["agent=nobody", "a=values:9e9,1", "start=x", "show=sodium", "what=1", "b=values:1"]
)
@pytest.mark.parametrize("kind", ["csv", "py", "png"])
def test_what_cannot_be_shown_is_a_sentence(client: Any, query: str, kind: str) -> None:
    answer = client.get(f"/view.{kind}?{query}")
    assert answer.status_code == 422
    assert answer.text.startswith("This cannot be shown: ")
    assert answer.text.count("\n") == 1


def test_without_a_truth_there_are_no_frames(client: Any) -> None:
    assert "no true environment" in client.get("/frames.png").text


def test_pages_of_other_names_are_refused(client: Any) -> None:
    assert client.get("/view.py", headers={"Host": "elsewhere.example"}).status_code == 400
    assert client.get("/view.py", headers={"Host": "localhost:8000"}).status_code == 200


def test_static_files_are_in_the_package() -> None:
    folder = Path(server.__file__).parent
    for name in ("page.css", "chart.js", "schedule.js", "agents.js"):
        text = (folder / name).read_text()
        assert "http://" not in text
        assert "https://" not in text
