"""No URL reaches a host its mode does not name, and real money needs arming."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alphatrade_pipelines.live.endpoints import (
    ArmingError,
    Credentials,
    EndpointError,
    Endpoints,
    MissingKeysError,
    check_arming,
    check_endpoints,
)

SIM = Endpoints.of_venue("http://127.0.0.1:8123/")


def test_own_hosts_are_accepted() -> None:
    check_endpoints("sim", SIM)
    check_endpoints("paper", Endpoints.of_alpaca("paper"))
    check_endpoints("live", Endpoints.of_alpaca("live"))
    assert SIM.trading_stream == "ws://127.0.0.1:8123/stream"


@pytest.mark.parametrize("field", ["trading", "data", "trading_stream", "data_stream"])
@pytest.mark.parametrize(
    ("mode", "url", "text"),
    [
        ("sim", "", "is empty"),
        ("sim", "   ", "is empty"),
        ("sim", "https://paper-api.alpaca.markets", "has scheme|foreign to mode"),
        ("sim", "http://127.0.0.1.evil.example/", "has scheme|foreign to mode"),
        ("paper", "https://api.alpaca.markets", "has scheme|foreign to mode"),
        ("paper", "http://paper-api.alpaca.markets", "has scheme"),
        ("live", "wss://paper-api.alpaca.markets/stream", "has scheme|foreign to mode"),
        ("live", "https://user:pw@api.alpaca.markets", "carries credentials"),
    ],
)
def test_foreign_urls_are_refused(field: str, mode: str, url: str, text: str) -> None:
    good = SIM if mode == "sim" else Endpoints.of_alpaca(mode)
    with pytest.raises(EndpointError, match=text) as caught:
        check_endpoints(mode, replace(good, **{field: url}))
    assert "pw" not in str(caught.value)


def test_unknown_mode() -> None:
    with pytest.raises(EndpointError, match="unknown mode 'papr': expected one of sim, paper, live"):
        check_endpoints("papr", SIM)


def test_missing_keys() -> None:
    with pytest.raises(MissingKeysError, match="API key and secret key"):
        Credentials.of("", None, "paper")
    with pytest.raises(MissingKeysError, match="missing: secret key"):
        Credentials.of("k", " ", "live")


def test_arming() -> None:
    check_arming("paper", None, "PA1", "paper")
    check_arming("live", "123", "123", "live")
    with pytest.raises(ArmingError, match="nothing was typed"):
        check_arming("live", None, "123", "live")
    with pytest.raises(ArmingError, match="differs"):
        check_arming("live", "124", "123", "live")
    with pytest.raises(ArmingError, match="passed 'paper'"):
        check_arming("live", "123", "123", "paper")
