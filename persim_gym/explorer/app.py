"""The application: the page, and what can be taken away from it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from persim_gym.explorer import exports
from persim_gym.explorer.page import Page
from persim_gym.explorer.scene import Courses, Scene
from persim_gym.explorer.view import View

STYLE = Path(__file__).with_name("page.css")

Answer: TypeAlias = Callable[[Request], Response]


def view_of(scene: Scene, query: str) -> View:
    """The view of an address's query.

    Raises:
        ValueError: If it holds none that can be shown.
    """
    default = scene.default_view()
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=200)
    view = View.from_query(pairs, default)
    if view.agent != default.agent and "start" not in dict(pairs):
        view = replace(view, start=scene.record.usual_start(scene.index(view.agent)))
    return scene.checked(view)


def make_app(scene: Scene, host: str) -> FastAPI:
    """The application: the page at ``/``, and what can be taken away from it.

    Args:
        scene: What computes.
        host: Where it is served: requests for another name are refused where it is loopback, so
            that no page of elsewhere can read this one under a name of its own.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_exports(app, scene)

    @ui.page("/", title=f"{scene.sim.task.name}: explorer")
    def page(request: Request) -> None:
        ui.add_css(STYLE.read_text())
        error = ""
        try:
            view = view_of(scene, request.url.query)
        except ValueError as wrong:
            error, view = (
                f"This address cannot be shown: {wrong}",
                scene.checked(scene.default_view()),
            )
        Page(scene, view, error)

    ui.run_with(
        app, title="persim-gym explore", dark=None, language="en-US", tailwind=False,
        show_welcome_message=False,
    )  # fmt: skip
    guard_hosts(app, host)
    return app


def guard_hosts(app: FastAPI, host: str) -> None:
    """Refuse requests for other names where ``host`` is loopback."""
    if _is_loopback(host):
        names = ["localhost", "127.0.0.1", "[::1]", host]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def add_exports(app: FastAPI, scene: Scene) -> None:
    """Add what can be taken away of the view in the query: numbers, picture, code, frames."""

    def answer(make: Callable[[View, Courses, list[Any]], bytes | str], kind: str) -> Answer:
        def respond(request: Request) -> Response:
            try:
                view = view_of(scene, request.url.query)
                courses = scene.courses(view)
                truths = [scene.true_course(view, course) for course in courses.sides]
                content = make(view, courses, truths)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                return PlainTextResponse(f"This cannot be shown: {error}\n", status_code=422)
            return Response(content, media_type=kind)

        return respond

    def frames(view: View, courses: Courses, truths: list[Any]) -> bytes:
        if scene.truth is None or truths[0] is None:
            raise ValueError("there is no true environment of this agent")
        return scene.truth.pictures(courses.a.agent, truths[0], courses.a.mean, view.step)

    app.get("/view.csv")(
        answer(lambda v, c, t: exports.table_of(scene, c, t), "text/csv; charset=utf-8")
    )
    app.get("/view.py")(
        answer(lambda v, c, t: exports.code_of(scene, v, c), "text/x-python; charset=utf-8")
    )
    app.get("/view.png")(answer(lambda v, c, t: exports.picture_of(scene, v, c, t), "image/png"))
    app.get("/frames.png")(answer(frames, "image/png"))
