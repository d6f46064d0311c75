"""The web application: the page, the events that make it grow, the pictures, and its static files."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from cempstream.plain import shown
from cempstream.streams.page.guard import Guard, Names
from cempstream.streams.page.night import Night
from cempstream.streams.page.painter import Busy, Painter, Undrawable
from cempstream.streams.page.row import Row
from cempstream.streams.page.sky import HEIGHT, WIDTH, sky_map
from cempstream.streams.page.view import View
from cempstream.streams.subscriber.where import FIELDS, FilterError

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent

#: How often a browser's view is compared with what is held, and how many of these make a look at the health
#: and at how the stars stand.
_TICK_S = 0.25
_TICKS_OF_HEALTH = 4
_TICKS_OF_STANDINGS = 240

#: A browser that takes nothing for so long is given up; it connects again by itself.
_SEND_TIMEOUT_S = 20.0


def create_app(night: Night, names: Names, where: str | None = None) -> Starlette:
    """Return the application.

    Parameters
    ----------
    night
        What it shows.
    names
        Under which it may be asked for.
    where
        The filter that `night` was made with, for the page to say so.
    """
    environment = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)
    template = environment.get_template("page.html.j2")
    painter = Painter()
    heaven = sky_map()

    def page(request: Request) -> Response:
        return HTMLResponse(
            template.render(
                source=night.source,
                where=where,
                n_kept=night.candidates.n_kept,
                sky=heaven,
                width=WIDTH,
                height=HEIGHT,
                fields=sorted(FIELDS),
                has_site=night.tonight is not None,
            )
        )

    def events(request: Request) -> Response:
        return EventSourceResponse(
            follow(night, request.query_params.get("where") or None), send_timeout=_SEND_TIMEOUT_S
        )

    async def picture(request: Request) -> Response:
        candidate = night.candidates.find(request.path_params["number"])
        if candidate is None:
            return PlainTextResponse("This candidate is no longer on the page.\n", 404)
        try:
            png = await painter.paint(candidate.change, candidate.latest)
        except Busy:
            text = "Too many pictures are waited for; ask again in a while.\n"
            return PlainTextResponse(text, 503, {"Retry-After": "10"})
        except Undrawable as error:
            logger.warning("alert %s cannot be drawn: %s", shown(candidate.latest.alert_id), error.__cause__)
            return PlainTextResponse("There is no picture of what this alert says.\n", 422)
        return Response(png, media_type="image/png")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/picture/{number:int}", picture),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, names=names)],
    )


async def follow(night: Night, where: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of one browser until the server ends.

    The first is ``candidates`` with everything, or ``refused`` with what is wrong with the filter; then come
    ``changes``, every second ``health``, and where there is a site ``standings``.
    """
    try:
        view = View(night.candidates, where)
    except FilterError as error:
        yield _event("refused", {"problem": str(error)})
        return
    name, tick = "candidates", 0
    while not night.is_over:
        rows: tuple[Row, ...] = view.rows if tick % _TICKS_OF_STANDINGS == 0 else ()
        if (changes := view.changes()) is not None:
            yield _event(name, asdict(changes))
            name, rows = "changes", rows or changes.rows
        if night.tonight is not None and rows:
            standings = await run_in_threadpool(night.tonight.standings, rows)
            stars = {number: asdict(standing) for number, standing in standings.items()}
            yield _event("standings", {"darkness": night.tonight.darkness(), "stars": stars})
        if tick % _TICKS_OF_HEALTH == 0:
            yield _event("health", asdict(night.health()))
        tick += 1
        await asyncio.sleep(_TICK_S)


def _event(name: str, content: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(content, allow_nan=False), event=name)
