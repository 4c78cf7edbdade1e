from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from persim_gym.explorer import server


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


def test_static_files_are_in_the_package() -> None:
    folder = Path(server.__file__).parent
    for name in ("page.css", "chart.js", "schedule.js", "agents.js"):
        text = (folder / name).read_text()
        assert "http://" not in text
        assert "https://" not in text
