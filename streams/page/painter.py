"""Pictures of candidates, drawn when they are asked for: one at a time, and the last ones kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from io import BytesIO

from starlette.concurrency import run_in_threadpool

from cempstream.schemas.alert import Alert
from cempstream.streams.pictures.finding import finding_of_alert
from cempstream.streams.pictures.picture import draw_finding


class Busy(Exception):
    """So many pictures are waited for that one more would take too long."""


class Undrawable(Exception):
    """There is no picture of what a packet says; a velocity beyond that of light is one reason."""


class Painter:
    """Draw alerts as PNG.

    Parameters
    ----------
    n_kept
        Pictures that are kept, about 0.25 MB each.
    most_waiting
        Pictures that may be waited for at once.
    """

    def __init__(self, n_kept: int = 48, most_waiting: int = 8) -> None:
        self._n_kept = n_kept
        self._most_waiting = most_waiting
        self._n_waiting = 0
        self._drawn: OrderedDict[int, bytes] = OrderedDict()
        self._brush = asyncio.Lock()  # matplotlib draws in one thread only

    async def paint(self, key: int, alert: Alert) -> bytes:
        """Return the picture of an alert, which `key` stands for.

        Raises
        ------
        Busy
            Too many are waited for.
        Undrawable
            There is no picture of its numbers.
        """
        if key not in self._drawn and self._n_waiting >= self._most_waiting:
            raise Busy
        self._n_waiting += 1
        try:
            async with self._brush:
                if key not in self._drawn:
                    self._drawn[key] = await run_in_threadpool(_draw, alert)
                self._drawn.move_to_end(key)
                while len(self._drawn) > self._n_kept:
                    self._drawn.popitem(last=False)
                return self._drawn[key]
        finally:
            self._n_waiting -= 1


def _draw(alert: Alert) -> bytes:
    png = BytesIO()
    try:
        draw_finding(finding_of_alert(alert)).savefig(png, format="png", pil_kwargs={"compress_level": 2})
    except (ValueError, ArithmeticError) as error:
        raise Undrawable from error
    return png.getvalue()
