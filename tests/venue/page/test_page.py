"""The page over raw HTTP: who gets in, who may press, what is shown, and that nothing a client sends is ever markup."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest
from venue_world import FLAT, bracket, buy, daily_bars, exchange, until

from alphatrade_pipelines.venue import Exchange, VenueError
from alphatrade_pipelines.venue.faults.catalogue import KINDS, REQUIRED, Kind
from alphatrade_pipelines.venue.faults.scenario import faults_of
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from alphatrade_pipelines.venue.server.page import money, rate, signed, span, sparkline
from alphatrade_pipelines.venue.server.page_faults import fault_forms, table_of

CALM = (100.0, 102.0, 99.0, 101.0, 1e6)


class Browser:
    """A session with cookies and what a browser says of itself when its user presses a button on the page."""

    def __init__(self, session: aiohttp.ClientSession, server: VenueServer, url: str) -> None:
        self.session, self.server, self.url = session, server, url
        self.origin = {"Origin": url, "Sec-Fetch-Site": "same-origin"}

    async def enter(self) -> str:
        """Follow the printed address; the page."""
        async with self.session.get(f"{self.url}/", params={"token": self.server.admin_token}) as answer:
            assert answer.status == 200
            assert 'url=/"' in await answer.text()
        return await self.page()

    async def page(self) -> str:
        async with self.session.get(f"{self.url}/") as answer:
            assert answer.status == 200
            return await answer.text()

    async def press(self, action: str, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
        """(status, body or the page the press leads to)."""
        word = re.search(r'name="word" value="([^"]+)"', await self.page())
        body = {"word": word[1] if word else "", **form}
        async with self.session.post(f"{self.url}/page/{action}", data=body, headers=headers or self.origin) as answer:
            return answer.status if not answer.history else answer.history[0].status, await answer.text()


@asynccontextmanager
async def served(ex: Exchange, config: ServerConfig | None = None) -> AsyncIterator[Browser]:
    server = VenueServer(ex, config or ServerConfig(mode="stepped"))
    url = await server.start()
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            yield Browser(session, server, url)
    finally:
        await server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with served(exchange(daily_bars({"AAA": [FLAT, CALM, CALM, CALM], "BBB": [FLAT] * 4}))) as one:
        yield one


class TestGettingIn:
    async def test_without_the_token_the_page_says_how_to_get_in_and_shows_nothing(self, browser: Browser) -> None:
        shown = await browser.page()
        assert "belongs to whoever started it" in shown
        assert browser.server.exchange.cash_account.number not in shown
        assert browser.server.admin_token not in shown

    async def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(self, browser: Browser) -> None:
        async with browser.session.get(f"{browser.url}/", params={"token": browser.server.admin_token}) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert browser.server.admin_token not in cookie
        assert browser.server.exchange.cash_account.number in await browser.page()

    async def test_a_wrong_token_gets_no_cookie(self, browser: Browser) -> None:
        async with browser.session.get(f"{browser.url}/", params={"token": "wrong"}) as answer:
            assert answer.status == 403
            assert "Set-Cookie" not in answer.headers
        async with browser.session.post(f"{browser.url}/page/enter", data={"token": "é"}, headers=browser.origin) as answer:
            assert answer.status == 403

    async def test_the_token_may_be_typed(self, browser: Browser) -> None:
        async with browser.session.post(
            f"{browser.url}/page/enter", data={"token": f" {browser.server.admin_token}\n"}, headers=browser.origin
        ) as answer:
            assert answer.status == 200
        assert browser.server.exchange.cash_account.number in await browser.page()

    async def test_the_cookie_opens_the_page_and_nothing_else(self, browser: Browser) -> None:
        await browser.enter()
        for method, path in (("GET", "/admin/state"), ("POST", "/admin/step"), ("GET", "/v2/account"), ("POST", "/v2/orders")):
            async with browser.session.request(method, browser.url + path) as answer:
                assert answer.status == 401, path

    async def test_the_live_part_needs_the_cookie(self, browser: Browser) -> None:
        async with browser.session.get(f"{browser.url}/page/live") as answer:
            assert answer.status == 401
        await browser.enter()
        async with browser.session.get(f"{browser.url}/page/live") as answer:
            assert answer.status == 200
            assert "<html" not in await answer.text()

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "127.0.0.1:port", ""]
    )
    async def test_a_rebound_name_gets_nowhere_even_with_the_cookie(self, browser: Browser, host: str) -> None:
        await browser.enter()
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in browser.session.cookie_jar)
        for path in ("/", "/page/live"):
            async with aiohttp.request("GET", browser.url + path, headers={"Host": host, "Cookie": cookies}) as answer:
                assert answer.status in (400, 403)
                assert browser.server.exchange.cash_account.number not in await answer.text()

    async def test_headers_keep_other_pages_and_resources_out(self, browser: Browser) -> None:
        await browser.enter()
        async with browser.session.get(f"{browser.url}/") as answer:
            policy = answer.headers["Content-Security-Policy"]
            shown = await answer.text()
        assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy.split("; "))
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r'(src|href)="(https?:)?//', shown)


class TestPressing:
    async def test_time_moves_to_the_next_point_open_and_close(self, browser: Browser) -> None:
        await browser.enter()
        status, shown = await browser.press("step", until="open")
        assert status == 303
        assert "market open" in shown
        assert browser.server.exchange.market_open
        steps = browser.server.steps
        await browser.press("step", until="point")
        assert browser.server.steps == steps + 1
        _, shown = await browser.press("step", until="close")
        assert "market closed" in shown
        assert not browser.server.exchange.market_open

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://[bad"},
        ],
    )
    async def test_a_foreign_page_cannot_press(self, browser: Browser, headers: dict[str, str]) -> None:
        await browser.enter()
        before = browser.server.exchange.now
        assert (await browser.press("step", headers, until="open"))[0] == 403
        assert browser.server.exchange.now == before

    async def test_a_press_needs_the_word_of_its_own_session(self, browser: Browser) -> None:
        await browser.enter()
        before = browser.server.exchange.now
        for word in ("", "guess"):
            assert (await browser.press("step", word=word, until="open"))[0] == 403
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
            assert (await Browser(other, browser.server, browser.url).press("step", until="open"))[0] == 403
        assert browser.server.exchange.now == before

    async def test_a_bad_value_is_told_on_the_page(self, browser: Browser) -> None:
        await browser.enter()
        status, shown = await browser.press("step", until="<b>yesterday")
        assert status == 303
        assert "until must be" in shown

    async def test_a_running_venue_is_paused_moved_by_hand_and_resumed(self) -> None:
        async with served(exchange(daily_bars({"AAA": [CALM] * 4})), ServerConfig(mode="accelerated", speed=1)) as browser:
            assert "session open</button>" not in await browser.enter()
            assert "pause it" in (await browser.press("step", until="open"))[1]
            _, shown = await browser.press("pause")
            assert browser.server.may_step
            assert re.search(r'class="pill bad">paused', shown)
            assert "market open" in (await browser.press("step", until="open"))[1]
            assert "real time" in (await browser.press("resume"))[1]
            assert not browser.server.may_step

    async def test_a_stepped_venue_cannot_be_paused(self, browser: Browser) -> None:
        assert "pause</button>" not in await browser.enter()
        assert "stepped" in (await browser.press("pause"))[1]

    async def test_a_fault_is_injected_seen_and_cancelled(self, browser: Browser) -> None:
        await browser.enter()
        _, shown = await browser.press("fault", kind="halt", symbol="BBB", for_seconds="3600", code="T2", reason="<b>", at="+30s", times="")
        (fault,) = browser.server.injector.describe()["faults"]
        assert (fault["kind"], fault["symbol"], fault["for_seconds"], fault["params"]["code"]) == ("halt", "BBB", 3600.0, "T2")
        assert ">armed<" in shown
        _, shown = await browser.press("cancel-fault", id=fault["id"])
        assert "None active." in shown
        for _ in range(2):
            await browser.press("fault", kind="mute_trade_updates", times="3")
        await browser.press("cancel-fault")
        assert browser.server.injector.describe()["faults"] == []

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"kind": "nonsense"}, "unknown kind"),
            ({"kind": "halt"}, "symbol is required"),
            ({"kind": "halt", "symbol": "ZZZ"}, "ZZZ"),
            ({"kind": "http_error", "status": "often"}, "expected status"),
            ({"kind": "http_error", "times": "1.5"}, "expected times to be a whole number"),
            ({"kind": "http_error", "colour": "red"}, "unknown key"),
            ({"kind": "http_error", "at": "session 99 open"}, "this venue plays sessions"),
        ],
    )
    async def test_a_fault_that_cannot_be_armed_says_why(self, browser: Browser, form: dict[str, str], said: str) -> None:
        await browser.enter()
        shown = (await browser.press("fault", **form))[1]
        assert re.search(rf'class="notice failed"[^<]*>[^<]*{said}', shown), shown[:3000]
        assert browser.server.injector.describe()["faults"] == []

    async def test_an_injected_fault_strikes(self, browser: Browser) -> None:
        await browser.enter()
        await browser.press("fault", kind="http_error", status="502", body="html", endpoint="GET /v2/clock")
        keys = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
        async with browser.session.get(f"{browser.url}/v2/clock", headers=keys) as answer:
            assert (answer.status, answer.content_type) == (502, "text/html")
        shown = await browser.page()
        assert "1 of 1" in shown
        assert "<dt>requests received</dt><dd>1</dd>" in shown, "the page's own requests do not count"

    async def test_only_known_actions(self, browser: Browser) -> None:
        await browser.enter()
        assert (await browser.press("shutdown"))[0] in (401, 404)


class TestShowing:
    async def test_a_protected_and_a_naked_position(self, browser: Browser) -> None:
        ex = browser.server.exchange
        ex.submit(bracket(qty=10))
        ex.submit(buy("BBB", 7))
        until(ex, "session_open")
        shown = await browser.enter()
        positions = shown[shown.index('id="positions"') : shown.index('id="orders"')]
        protected, naked = positions.split("<b>BBB</b>")
        assert "10 stop 95.00" in protected
        assert "10 target 110.00" in protected
        assert "100 %" in protected
        assert "gap 7" in naked
        assert "1 not fully protected" in shown
        held = shown[shown.index('id="orders"') : shown.index('id="executions"')]
        assert re.findall(r'class="pill (\w+)"', held) == ["filled", "new", "held"]

    async def test_a_refused_order_and_a_halted_symbol(self, browser: Browser) -> None:
        ex = browser.server.exchange
        with pytest.raises(VenueError):
            ex.submit(buy(qty=10**7))
        ex.levers.halt("BBB")
        shown = await browser.enter()
        assert "0 taken, 1 refused" in shown
        assert '<span class="pill bad">40310000</span> insufficient buying power' in shown
        market = shown[shown.index('id="market"') :]
        assert market.index("<b>BBB</b>") < market.index("halted")

    async def test_what_a_client_sends_is_text(self, browser: Browser) -> None:
        ex = browser.server.exchange
        evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
        ex.submit(buy(qty=1, client_order_id=evil, time_in_force="gtc"))
        shown = await browser.enter()
        assert evil not in shown
        assert "<img" not in shown
        assert shown.count("<script") == 1
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown

    async def test_an_empty_venue_and_one_at_its_end(self, browser: Browser) -> None:
        assert "Flat." in await browser.enter()
        while browser.server.exchange.advance():
            pass
        assert "the tape has ended" in await browser.page()
        assert "the tape has ended" in (await browser.press("step", until="close"))[1]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (money(Decimal("1234567.891")), "1,234,567.89"),
        (money(Decimal("0.1234")), "0.1234"),
        (money(Decimal(5)), "5.00"),
        (money(None), "–"),
        (signed(Decimal("-1234.5")), "-1,234.50"),
        (signed(Decimal("0.001")), "0.00"),
        (rate(Decimal("0.01234")), "+1.23 %"),
        (span(0.2), "0 s"),
        (span(192_100), "53 h 21 min"),
        (sparkline((Decimal(1),)), "0.0,42.0"),
        (sparkline((Decimal(1), Decimal(3)), width=10, height=24), "0.0,22.0 10.0,2.0"),
    ],
)
def test_how_values_are_written(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_of_the_catalogue_has_a_form_that_arms_it(kind: Kind) -> None:
    """Submitted as it stands, with what it requires filled in: the scenario reader takes it and every default is the catalogue's."""
    (form,) = [form for column in fault_forms(("AAA",)) for forms in column.values() for form in forms if form.kind is kind]
    filled = {field.name: field.value for field in (*form.params, *form.timing) if field.name != "symbol"}
    filled |= {field.name: "1" for field in form.params if field.required}
    if "symbol" in kind.params:
        filled["symbol"] = "AAA"
    (fault,) = faults_of([table_of({"kind": kind.name, "word": "x", **filled})])
    defaults = {name: param.default for name, param in kind.params.items() if name != "symbol" and param.default is not REQUIRED}
    assert {name: fault.params[name] for name in defaults} == defaults
    assert (fault.at, fault.every, fault.probability, fault.endpoint) == (None, None, None, kind.endpoint)
