"""The server of the page: loopback by default, nothing from elsewhere, nothing kept."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import warnings
from collections.abc import Callable

from persim_gym import checks
from persim_gym.explorer.scene import Scene

MISSING = "the explorer needs NiceGUI, which is not installed: pip install 'persim-gym[explore]'"


def check_installed() -> None:
    """Check that the page's library is there.

    Raises:
        ValueError: If it is not, with the remedy.
    """
    try:
        import nicegui  # noqa: F401
    except ImportError:
        raise ValueError(MISSING) from None


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one.

    Raises:
        ValueError: If the address cannot be had.
    """
    checks.text("--host", host)
    with contextlib.ExitStack() as undo:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(128)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ValueError(
                f"cannot serve at {host}:{port} ({reason}): choose another --host or --port"
            ) from None
        undo.pop_all()
    return made


def address_of(listening: socket.socket) -> str:
    """The address of the page in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(scene: Scene, listening: socket.socket, on_start: Callable[[str], None]) -> None:
    """Serve until the process is interrupted.

    Args:
        scene: What computes.
        listening: From :func:`bound_socket`.
        on_start: Called with the address when the page can be opened.
    """
    import torch
    import uvicorn

    from persim_gym.explorer.app import make_app

    torch.set_num_threads(1)  # steps of a few rows: threads would wait for each other

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_start(address_of(listening))

    app = make_app(scene, listening.getsockname()[0])
    config = uvicorn.Config(
        app, log_level="warning", ws="wsproto", timeout_graceful_shutdown=1, lifespan="on"
    )
    with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
        # NiceGUI inspects every object of the process, torch's deprecated ones as well.
        warnings.filterwarnings("ignore", r".*torch\.distributed", FutureWarning)
        try:
            Announced(config).run(sockets=[listening])
        finally:
            if scene.truth is not None:
                scene.truth.close()
