"""/v2/account, its settings, activities and history, the clock, the calendar and the assets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alpaca.trading.enums import AssetClass, AssetExchange, AssetStatus, CorporateActionType, OrderSide
from alpaca.trading.models import AccountConfiguration
from alpaca.trading.requests import (
    GetAssetsRequest,
    GetCalendarRequest,
    GetCorporateAnnouncementsRequest,
    GetPortfolioHistoryRequest,
)
from rest_world import NOBODY, Venue, bracket
from served_world import refused
from venue_world import FLAT, D, daily_bars, exchange, intraday_bars

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.venue import Fidelity

ROWS = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]


@pytest.fixture
def venue() -> Iterator[Venue]:
    with Venue(exchange(daily_bars({"AAA": ROWS, "BBB": [FLAT] * 4}))) as one:
        yield one


class TestAccount:
    def test_a_fresh_account_has_the_keys_of_a_real_one(self, venue: Venue) -> None:
        account = venue.trading.get_account()
        assert (account.status.value, account.equity, account.buying_power, account.multiplier) == ("ACTIVE", "100000", "400000", "4")
        raw = venue.get("/v2/account")
        # the keys of a paper account of 2026-07 (notes on Alpaca, 2.3): nothing of the pattern-day-trader rule is left
        assert set(raw) == {
            *("id", "account_number", "status", "crypto_status", "currency", "buying_power", "regt_buying_power"),
            *("effective_buying_power", "non_marginable_buying_power", "options_buying_power", "cash", "accrued_fees"),
            *("portfolio_value", "equity", "last_equity", "multiplier", "shorting_enabled", "trading_blocked", "transfers_blocked"),
            *("account_blocked", "trade_suspended_by_user", "long_market_value", "short_market_value", "position_market_value"),
            *("initial_margin", "maintenance_margin", "last_maintenance_margin", "sma", "balance_asof", "intraday_adjustments"),
            *("pending_reg_taf_fees", "created_at"),
        }
        assert (raw["regt_buying_power"], raw["non_marginable_buying_power"], raw["sma"]) == ("200000", "100000", "100000")
        assert raw["created_at"] == "2024-03-04T21:00:00Z"

    def test_restrictions_show(self, venue: Venue) -> None:
        venue.exchange.levers.restrict(trading_blocked=True, account_blocked=True)
        account = venue.trading.get_account()
        assert (account.trading_blocked, account.account_blocked, account.trade_suspended_by_user) == (True, True, False)

    def test_the_abolished_rule_brings_its_fields_back(self) -> None:
        with Venue(exchange(daily_bars({"AAA": ROWS}), fidelity=Fidelity(pattern_day_trader=True))) as venue:
            account = venue.trading.get_account()
            assert (account.pattern_day_trader, account.daytrade_count) == (False, 0)


class TestConfigurations:
    def test_round_trip(self, venue: Venue) -> None:
        found = venue.trading.get_account_configurations()
        assert isinstance(found, AccountConfiguration)
        assert venue.trading.set_account_configurations(found) == found
        assert (found.max_margin_multiplier, found.suspend_trade, found.fractional_trading) == ("4", False, True)

    def _set(self, venue: Venue, **change: object) -> AccountConfiguration:
        found = venue.trading.get_account_configurations()
        assert isinstance(found, AccountConfiguration)
        changed = venue.trading.set_account_configurations(found.model_copy(update=change))
        assert isinstance(changed, AccountConfiguration)
        assert {name: getattr(changed, name) for name in change} == change
        return changed

    def test_suspended_trading_refuses_orders_until_lifted(self, venue: Venue) -> None:
        self._set(venue, suspend_trade=True)
        assert venue.trading.get_account().trade_suspended_by_user
        assert refused(lambda: venue.buy()) == (403, 40310000, "new orders are rejected by user request")
        self._set(venue, suspend_trade=False)
        assert venue.buy().qty == "10"

    def test_no_shorting_makes_the_account_long_only(self, venue: Venue) -> None:
        self._set(venue, no_shorting=True)
        assert refused(lambda: venue.buy(side=OrderSide.SELL)) == (403, 40310000, "account is not allowed to short")
        assert venue.trading.get_account().shorting_enabled is False

    def test_the_multiplier_bounds_buying_power(self, venue: Venue) -> None:
        self._set(venue, max_margin_multiplier="2")
        assert venue.trading.get_account().buying_power == "200000"
        assert refused(lambda: venue.buy(qty=2001))[2] == "insufficient buying power"
        self._set(venue, max_margin_multiplier="4")
        assert venue.buy(qty=2001).qty == "2001"

    def test_without_fractional_trading_only_whole_shares_are_opened(self, venue: Venue) -> None:
        venue.buy(qty=1.5)
        venue.until("session_open")
        self._set(venue, fractional_trading=False)
        assert refused(lambda: venue.buy(qty=1.5))[0] == 403
        assert venue.trading.close_position("AAA").qty == "1.5"

    @pytest.mark.parametrize(
        "change",
        [
            {"max_margin_multiplier": "3"},
            {"max_margin_multiplier": 2},
            {"suspend_trade": "yes"},
            {"suspend_trade": 1},
            {"trade_confirm_email": "some"},
            {"max_options_trading_level": True},
            {"colour": "red"},
            {"suspend_trade": True, "no_shorting": "x"},
        ],
    )
    def test_bad_settings_change_nothing(self, venue: Venue, change: dict[str, object]) -> None:
        before = venue.get("/v2/account/configurations")
        answer = venue.raw("PATCH", "/v2/account/configurations", json=change)
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
        assert venue.get("/v2/account/configurations") == before


class TestMarket:
    def test_clock(self, venue: Venue) -> None:
        clock = venue.trading.get_clock()
        assert not clock.is_open
        assert clock.next_open.isoformat() == "2024-03-05T09:30:00-05:00"
        assert venue.get("/v2/clock")["timestamp"] == "2024-03-04T16:00:00-05:00"

    def test_the_calendar_is_the_calendar_of_the_house(self, venue: Venue) -> None:
        days = venue.trading.get_calendar(GetCalendarRequest(start=date(2024, 1, 1), end=date(2024, 12, 31)))
        assert len(days) == len(SessionCalendar().sessions("2024-01-01", "2024-12-31")) == 252
        half_day = venue.get("/v2/calendar?start=2024-11-29&end=2024-11-30")
        assert half_day == [
            {
                "date": "2024-11-29",
                "open": "09:30",
                "close": "13:00",
                "session_open": "0400",
                "session_close": "1700",
                "settlement_date": "2024-12-02",
            }
        ]
        everything = venue.get("/v2/calendar")
        assert (everything[0]["date"], everything[-1]["date"]) == ("1970-01-02", "2029-12-31")

    def test_settlement(self, venue: Venue) -> None:
        """T+1 since 2024-05-28, T+2 before (SEC release 34-96930)."""
        late, early = venue.get("/v2/calendar?start=2024-05-24&end=2024-05-28")
        assert (late["settlement_date"], early["settlement_date"]) == ("2024-05-29", "2024-05-29")
        assert [day["date"] for day in venue.get("/v2/calendar?start=2024-05-29&end=2024-05-29&date_type=SETTLEMENT")] == [
            "2024-05-24",
            "2024-05-28",
        ]

    def test_assets(self, venue: Venue) -> None:
        assert [asset.symbol for asset in venue.trading.get_all_assets()] == ["AAA", "BBB"]
        chosen = GetAssetsRequest(status=AssetStatus.ACTIVE, asset_class=AssetClass.US_EQUITY, exchange=AssetExchange.NASDAQ)
        assert len(venue.trading.get_all_assets(chosen)) == 2
        for other in (GetAssetsRequest(status=AssetStatus.INACTIVE), GetAssetsRequest(asset_class=AssetClass.CRYPTO)):
            assert venue.trading.get_all_assets(other) == []
        assert venue.trading.get_all_assets(GetAssetsRequest(attributes="has_options,overnight_tradable")) == []
        asset = venue.trading.get_asset("AAA")
        assert venue.trading.get_asset(asset.id) == asset
        assert refused(lambda: venue.trading.get_asset("NONE")) == (404, 40410000, "asset not found for NONE")

    def test_assets_show_what_has_become_of_them(self, venue: Venue) -> None:
        venue.exchange.levers.asset("BBB", shortable=False, easy_to_borrow=False, fractionable=False, tradable=False)
        asset = venue.trading.get_asset("BBB")
        assert not any((asset.shortable, asset.easy_to_borrow, asset.fractionable, asset.tradable))

    @pytest.mark.parametrize("query", ["start=2024-13-01", "end=now", "date_type=WHEN"])
    def test_bad_calendar_queries(self, venue: Venue, query: str) -> None:
        assert venue.raw("GET", f"/v2/calendar?{query}").json()["code"] == 40010001

    @pytest.mark.filterwarnings("ignore:get_corporate_announcements is deprecated")
    def test_announcements_of_the_trading_api(self) -> None:
        rows = {"AAA": [FLAT, FLAT, (50.0, 50.0, 50.0, 50.0, 2e6)]}
        bars = daily_bars(rows, split={"AAA": [1.0, 1.0, 2.0]}, dividend={"AAA": [0.0, 0.5, 0.0]})
        with Venue(exchange(bars)) as venue:
            asked = GetCorporateAnnouncementsRequest(
                ca_types=[CorporateActionType.DIVIDEND, CorporateActionType.SPLIT], since=date(2024, 3, 1), until=date(2024, 3, 31)
            )
            assert [(a.ca_type.value, a.cash) for a in venue.trading.get_corporate_announcements(asked)] == [("dividend", 0.5)]
            venue.until("session_close")
            split = venue.trading.get_corporate_announcements(asked)[1]
            assert (split.ca_sub_type.value, split.new_rate, split.old_rate, split.ex_date) == ("stock_split", 2.0, 1.0, date(2024, 3, 6))
            assert venue.trading.get_corporate_announcement_by_id(split.id) == split
            assert refused(lambda: venue.trading.get_corporate_announcement_by_id(NOBODY))[:2] == (404, 40410000)
            assert (
                venue.raw("GET", "/v2/corporate_actions/announcements?ca_types=Split&since=2024-01-01&until=2024-12-31").status_code == 422
            )


class TestActivities:
    @pytest.fixture
    def traded(self, venue: Venue) -> Venue:
        for number in range(5):
            venue.buy("BBB", 1, client_order_id=f"b{number}")
        venue.until("session_open")
        return venue

    def test_pages_reach_every_execution_once(self, traded: Venue) -> None:
        seen: list[str] = []
        token: dict[str, str] = {}
        while page := traded.trading.get("/account/activities", {"activity_types": "FILL", "page_size": 2, "direction": "asc", **token}):
            assert len(page) <= 2
            seen += [activity["order_id"] for activity in page]
            token = {"page_token": page[-1]["id"]}
        assert seen == [fill.order_id for fill in traded.exchange.fills()]
        assert len(set(seen)) == 5
        newest_first = traded.get("/v2/account/activities/FILL?page_size=100")
        assert [activity["order_id"] for activity in newest_first] == seen[::-1]
        assert newest_first[0] == {
            "id": newest_first[0]["id"],
            "activity_type": "FILL",
            "transaction_time": "2024-03-05T14:30:00Z",
            "type": "fill",
            "price": "100",
            "qty": "1",
            "side": "buy",
            "symbol": "BBB",
            "leaves_qty": "0",
            "order_id": seen[-1],
            "cum_qty": "1",
            "order_status": "filled",
        }

    def test_dates_bounds_and_categories(self, traded: Venue) -> None:
        def count(query: str) -> int:
            return len(traded.get(f"/v2/account/activities?{query}"))

        assert count("date=2024-03-05") == 5
        assert count("date=2024-03-04") == 0
        assert count("after=2024-03-05T14:29:59Z&until=2024-03-05T14:30:01Z") == 5
        assert count("after=2024-03-05T14:30:00Z") == 0
        assert count("until=2024-03-05T14:30:00Z") == 0
        assert count("category=trade_activity") == 5
        assert count("category=non_trade_activity") == 0
        assert count("activity_types=DIV,FEE") == 0

    @pytest.mark.parametrize(
        "query",
        [
            "page_token=none",
            "page_size=101",
            "page_size=0",
            "direction=up",
            "after=never",
            "date=2024-03-05&after=2024-03-01",
            "category=x",
            "category=trade_activity&activity_types=FILL",
        ],
    )
    def test_bad_queries(self, traded: Venue, query: str) -> None:
        assert traded.raw("GET", f"/v2/account/activities?{query}").json()["code"] == 40010001

    def test_fees_dividends_and_strange_shares(self) -> None:
        bars = daily_bars({"AAA": [FLAT] * 4}, dividend={"AAA": [0.0, 0.0, 0.5, 0.0]})
        with Venue(exchange(bars, profile="base")) as venue:
            venue.until("session_open")
            venue.buy()
            venue.until("session_close")
            venue.until("session_open")
            held = venue.trading.get_open_position("AAA").qty
            venue.trading.close_position("AAA")
            venue.exchange.levers.manual_trade("AAA", D(3))
            found = {activity["activity_type"]: activity for activity in venue.get("/v2/account/activities")}
            assert set(found) == {"FILL", "FEE", "DIV", "JNLS"}
            assert (found["DIV"]["qty"], found["DIV"]["per_share_amount"], float(found["DIV"]["net_amount"])) == (
                held,
                "0.5",
                float(held) / 2,
            )
            assert float(found["FEE"]["net_amount"]) < 0
            assert (found["JNLS"]["qty"], found["JNLS"]["symbol"]) == ("3", "AAA")
            history = venue.get("/v2/account/portfolio/history?timeframe=1D&cashflow_types=ALL")
            assert history["cashflow"]["DIV"] == [0.0, float(held) / 2]
            assert history["cashflow"]["FEE"][1] == float(found["FEE"]["net_amount"])


class TestHistory:
    def test_by_session(self, venue: Venue) -> None:
        venue.trading.submit_order(bracket())
        for _ in range(3):
            venue.until("session_close")
        history = venue.trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
        assert history.equity == [100010.0, 100100.0, 100100.0]
        assert history.profit_loss == [10.0, 100.0, 100.0]
        assert history.profit_loss_pct == [0.0001, 0.001, 0.001]
        assert datetime.fromtimestamp(history.timestamp[0], UTC) == datetime(2024, 3, 5, 14, 30, tzinfo=UTC)
        last = venue.get("/v2/account/portfolio/history?period=1D&timeframe=1D")
        assert (last["equity"], last["base_value"], last["base_value_asof"]) == ([100100.0], 100100.0, "2024-03-06")
        middle = venue.get("/v2/account/portfolio/history?start=2024-03-06T00:00:00-05:00&end=2024-03-06T23:00:00-05:00&timeframe=1D")
        assert (middle["equity"], middle["profit_loss"], middle["base_value"]) == ([100100.0], [90.0], 100010.0)

    @pytest.fixture
    def intraday(self) -> Iterator[Venue]:
        rows = [(100.0 + n, 100.0 + n, 100.0 + n, 100.0 + n, 1e6) for n in range(6)]
        with Venue(exchange(intraday_bars("AAA", rows), timeframe="5Min", skip=0)) as one:
            one.until("session_open")
            one.buy(qty=10)
            for _ in range(15):
                one.step()
            yield one

    def test_by_the_minute(self, intraday: Venue) -> None:
        """Bars of 5 minutes at 100, 101 ...: at their closes the ten shares are worth as much more."""
        found = intraday.trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min"))
        opened = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
        assert found.timeframe == "5Min"
        assert [datetime.fromtimestamp(at, UTC) for at in found.timestamp] == [opened + timedelta(minutes=5 * n) for n in range(5)]
        # a window is valued at its end: the next bar has opened then
        assert found.equity == [100010.0, 100020.0, 100030.0, 100030.0, 100030.0]
        assert found.profit_loss == [10.0, 20.0, 30.0, 30.0, 30.0]
        by_default = intraday.get("/v2/account/portfolio/history?period=1D")
        assert by_default["timeframe"] == "1Min"
        assert len(by_default["timestamp"]) == 21
        assert intraday.get("/v2/account/portfolio/history?period=1D&timeframe=15Min")["equity"] == [100030.0, 100030.0]
        assert intraday.get("/v2/account/portfolio/history?period=1D&timeframe=1H")["equity"] == [100030.0]

    def test_hours_reported(self, intraday: Venue) -> None:
        def stamps(reporting: str) -> list[str]:
            found = intraday.get(f"/v2/account/portfolio/history?period=1D&timeframe=1H&intraday_reporting={reporting}")
            return [datetime.fromtimestamp(at, UTC).isoformat()[11:16] for at in found["timestamp"]]

        assert stamps("market_hours") == ["14:30"]
        assert stamps("extended_hours") == ["13:00", "14:00"]  # the account began at 14:00
        assert stamps("continuous") == ["13:00", "14:00"]

    def test_profit_starts_anew_each_day_unless_told(self, venue: Venue) -> None:
        venue.trading.submit_order(bracket())
        for _ in range(2):
            venue.until("session_close")
        url = "/v2/account/portfolio/history?period=5D&timeframe=1H"
        assert [venue.get(f"{url}{more}")["profit_loss"][-1] for more in ("", "&pnl_reset=no_reset")] == [90.0, 100.0]

    @pytest.mark.parametrize(
        "query",
        [
            "period=1Y",
            "period=D",
            "period=0D",
            "period=9999A",
            "period=99999D",
            "timeframe=2Min",
            "period=2M&timeframe=1Min",
            "start=2024-01-01&end=2024-02-01&period=1D",
            "start=soon",
            "pnl_reset=x",
            "intraday_reporting=x",
            "extended_hours=x",
        ],
    )
    def test_bad_queries(self, venue: Venue, query: str) -> None:
        answer = venue.raw("GET", f"/v2/account/portfolio/history?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001), answer.text


def test_every_venue_time_on_the_wire_is_venue_time(venue: Venue) -> None:
    """The tape plays 2024: no answer may speak of the year it is here."""
    venue.trading.submit_order(bracket())
    venue.until("session_close")
    this_year = str(datetime.now(UTC).year)
    paths = ["account", "orders?status=all&nested=true", "positions", "clock", "account/activities", "account/portfolio/history", "assets"]
    answers: list[Any] = [venue.get(f"/v2/{path}") for path in paths]
    answers += [venue.get(f"/v2/stocks/{path}?symbols=AAA") for path in ("bars/latest", "trades/latest", "quotes/latest", "snapshots")]
    assert this_year not in str(answers)
