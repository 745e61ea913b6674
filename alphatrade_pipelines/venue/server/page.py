"""The page at ``/``: what the venue sees, and buttons to move time and to break things. For whoever started the venue.

The printed address carries the admin token once and is exchanged for a cookie that opens the page and nothing else. A button works only
for a request that comes from the page itself: the form carries the session's own word, ``Origin`` and ``Sec-Fetch-Site`` must be the
page's, and ``Host`` must be an IP address or ``localhost``, so that neither a foreign page in the same browser nor a rebound name
gets through.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.faults.scenario import ScenarioError, faults_of
from alphatrade_pipelines.venue.server import page_view
from alphatrade_pipelines.venue.server.page_faults import fault_forms, table_of
from alphatrade_pipelines.venue.server.wire import NEW_YORK, text

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer

ACTIONS = ("step", "pause", "resume", "fault", "cancel-fault", "release")
PATHS = frozenset({"/", "/page/enter", "/page/live", *(f"/page/{action}" for action in ACTIONS)})  # opened by cookie, not by API keys
_UNTIL = {"point": None, "open": "session_open", "close": "session_close"}
_NOTICE_SECONDS = 8.0
_SESSIONS = 16  # browsers that may be logged in; the oldest has to come back with the token
Form = Mapping[str, Any]


@dataclass(slots=True)
class PageSession:
    """One browser. ``word`` must come back with every form; ``said`` is how the last button ended (``failed``: badly)."""

    word: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    said: str = ""
    failed: bool = False
    said_at: float = 0.0

    def say(self, text: str, *, failed: bool) -> None:
        """Say how a button ended."""
        self.said, self.failed, self.said_at = text, failed, time.monotonic()

    @property
    def notice(self) -> str:
        """What was said a moment ago."""
        return self.said if time.monotonic() - self.said_at < _NOTICE_SECONDS else ""


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the page."""
    page = Page(server)
    router.add_get("/", page.show)
    router.add_post("/page/enter", page.enter)
    router.add_get("/page/live", page.live)
    router.add_post(f"/page/{{action:{'|'.join(ACTIONS)}}}", page.press)


class Page:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._sessions: dict[str, PageSession] = {}
        self._templates = _templates()
        self._forms = fault_forms(server.exchange.tape.symbols)
        self._actions: dict[str, Callable[[Form], Awaitable[str]]] = {
            "step": self._step,
            "pause": self._pause,
            "resume": self._resume,
            "fault": self._fault,
            "cancel-fault": self._cancel_fault,
            "release": self._release,
        }

    # --- getting in -------------------------------------------------------------------------------------------------------------------

    async def show(self, request: web.Request) -> web.StreamResponse:
        """GET /: the page; with ``?token=`` a cookie and back to the bare address; else how to get in."""
        _refuse_foreign_host(request)
        if "token" in request.query:
            return self._admit(request, request.query["token"])
        session = self._session(request)
        return self._how_to_get_in(200) if session is None else self._render("page.html", session)

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """POST /page/enter: the token typed into the form."""
        _refuse_foreign_host(request)
        _refuse_foreign_page(request)
        return self._admit(request, str((await request.post()).get("token", "")).strip())

    def _admit(self, request: web.Request, token: str) -> web.StreamResponse:
        if not hmac.compare_digest(token.encode(), self._server.admin_token.encode()):
            return self._how_to_get_in(403, "That is not this venue's token.")
        if len(self._sessions) >= _SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        key = secrets.token_urlsafe(24)
        self._sessions[key] = PageSession()
        # a page that moves on by itself, not a redirect: opened from another site's link, a redirect would not carry a Strict cookie
        answer = self._html(self._templates.get_template("admitted.html"), {}, 200)
        answer.set_cookie(_cookie(request), key, httponly=True, samesite="Strict", path="/")
        return answer

    def _session(self, request: web.Request) -> PageSession | None:
        return self._sessions.get(request.cookies.get(_cookie(request), ""))

    def _how_to_get_in(self, status: int, wrong: str = "") -> web.Response:
        return self._html(self._templates.get_template("enter.html"), {"wrong": wrong}, status)

    # --- showing ----------------------------------------------------------------------------------------------------------------------

    async def live(self, request: web.Request) -> web.StreamResponse:
        """GET /page/live: the part of the page that changes, for its own script."""
        _refuse_foreign_host(request)
        session = self._session(request)
        if session is None:
            raise VenueError(401, 40110000, "request is not authorized")
        return self._render("live.html", session)

    def _render(self, name: str, session: PageSession) -> web.Response:
        server = self._server
        values = {
            "v": page_view.view(server.exchange),
            "server": server,
            "exchange": server.exchange,
            "session": session,
            "faults": server.injector.describe(),
            "forms": self._forms,
        }
        return self._html(self._templates.get_template(name), values, 200)

    def _html(self, template: Any, values: Mapping[str, Any], status: int) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",  # with no-referrer a browser would send "Origin: null" with the forms
            "Cache-Control": "no-store",
        }
        return web.Response(text=template.render(nonce=nonce, **values), content_type="text/html", status=status, headers=headers)

    # --- buttons ----------------------------------------------------------------------------------------------------------------------

    async def press(self, request: web.Request) -> web.StreamResponse:
        """POST /page/{action}: do it, then back to the page, which says how it ended."""
        _refuse_foreign_host(request)
        _refuse_foreign_page(request)
        session = self._session(request)
        form = await request.post()
        if session is None or not hmac.compare_digest(str(form.get("word", "")).encode(), session.word.encode()):
            raise VenueError(403, 40310000, "this button works only on the venue's own page; open the page again")
        try:
            session.say(await self._actions[request.match_info["action"]](form), failed=False)
        except (VenueError, ScenarioError) as error:
            session.say(str(error), failed=True)
        return web.Response(status=303, headers={"Location": "/"})

    async def _step(self, form: Form) -> str:
        until = str(form.get("until", "point"))
        if until not in _UNTIL:
            raise malformed(f"until must be one of {', '.join(_UNTIL)}")
        if not self._server.may_step:
            raise VenueError(409, None, "this venue runs by the clock; pause it to move time by hand")
        wanted, before = _UNTIL[until], self._server.steps
        moved = await (self._server.step() if wanted is None else self._server.step_until(wanted))
        steps = self._server.steps - before
        return "the tape has ended" if moved is None else f"moved {steps} point{'s' * (steps != 1)}, to {moved['kind'].replace('_', ' ')}"

    async def _pause(self, _form: Form) -> str:
        self._server.pause()
        return "venue time stands still"

    async def _resume(self, _form: Form) -> str:
        self._server.resume()
        return "venue time goes on"

    async def _fault(self, form: Form) -> str:
        (name,) = self._server.injector.arm(faults_of([table_of(form)]))
        await self._server.publish()
        return f"{form['kind']} is armed as {name}"

    async def _cancel_fault(self, form: Form) -> str:
        ids = self._server.injector.disarm(str(form.get("id")) if form.get("id") else None)
        await self._server.publish()
        return f"cancelled {', '.join(ids) or 'nothing: no fault was armed'}"

    async def _release(self, form: Form) -> str:
        ids = self._server.injector.release(str(form.get("id")) if form.get("id") else None)
        return f"released {', '.join(ids) or 'nothing: no request was held'}"


def _cookie(request: web.Request) -> str:
    """Browsers share cookies between the ports of a host: each venue has a name of its own."""
    return f"alphatrade_venue_{urlsplit(f'//{request.host}').port or 80}"


def _refuse_foreign_host(request: web.Request) -> None:
    """An attacker can point a name of theirs at 127.0.0.1, but cannot make a browser send an IP address or ``localhost`` for it."""
    try:
        address = urlsplit(f"//{request.host}")
        if address.hostname != "localhost":
            ipaddress.ip_address(address.hostname or "")
        _ = address.port  # raises when it is no number
    except ValueError:
        raise VenueError(403, 40310000, "open this page by IP address or as localhost") from None


def _refuse_foreign_page(request: web.Request) -> None:
    """What a browser says of where a request comes from must be this page (a client that says nothing has no cookie to steal)."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    own = (None, f"http://{request.host}", f"https://{request.host}")
    if origin not in own or site not in (None, "same-origin"):
        raise VenueError(403, 40310000, "this button works only on the venue's own page")


# --- how values are written -----------------------------------------------------------------------------------------------------------


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("alphatrade_pipelines.venue.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": money,
        "signed": signed,
        "rate": rate,
        "qty": text,
        "time": time_of,
        "day": day_of,
        "short": short_time,
        "span": span,
        "sparkline": sparkline,
    }
    return environment


def money(value: Decimal | None) -> str:
    """Dollars with thousands separators, cents at least."""
    if value is None:
        return "–"
    cents = value.quantize(Decimal("0.01")) + 0  # no negative zero
    return f"{cents:,}" if cents == value or abs(value) >= 1000 else f"{value:,.4f}"


def signed(value: Decimal) -> str:
    """Dollars with their sign."""
    cents = value.quantize(Decimal("0.01"))
    return f"{cents:+,}" if cents else "0.00"


def rate(value: Decimal | None) -> str:
    """A fraction as signed per cent."""
    return "–" if value is None else f"{100 * value:+.2f} %"


def time_of(at: datetime) -> str:
    """New York wall-clock time."""
    return f"{at.astimezone(NEW_YORK):%H:%M:%S}"


def short_time(at: datetime) -> str:
    """New York day, month and wall-clock time."""
    return f"{at.astimezone(NEW_YORK):%d %b %H:%M:%S}"


def span(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{amount} {unit}" for amount, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if amount]
    return " ".join(parts[:2]) or "0 s"


def day_of(at: datetime) -> str:
    """New York date."""
    return f"{at.astimezone(NEW_YORK):%a %d %b %Y}"


def sparkline(values: tuple[Decimal, ...], width: int = 300, height: int = 44) -> str:
    """The points of an SVG polyline through ``values``."""
    shown = values[-200:]
    low, high = min(shown), max(shown)
    across = Decimal(width) / max(1, len(shown) - 1)
    up = Decimal(height - 4) / ((high - low) or 1)
    return " ".join(f"{number * across:.1f},{height - 2 - (value - low) * up:.1f}" for number, value in enumerate(shown))
