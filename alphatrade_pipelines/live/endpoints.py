"""Which hosts a mode may talk to, with which keys, and what arms real money. Checked before any client is built.

alpaca-py falls back to Alpaca's own hosts when it is given an empty URL, so an unset variable could send simulated orders to a
real account: here an empty or foreign URL is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

MODES = ("sim", "paper", "live")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
TRADING_HOSTS = {"sim": LOOPBACK, "paper": frozenset({"paper-api.alpaca.markets"}), "live": frozenset({"api.alpaca.markets"})}
DATA_HOSTS = {"sim": LOOPBACK, "paper": frozenset({"data.alpaca.markets"}), "live": frozenset({"data.alpaca.markets"})}
DATA_STREAM_HOSTS = {"sim": LOOPBACK, "paper": frozenset({"stream.data.alpaca.markets"}), "live": frozenset({"stream.data.alpaca.markets"})}


class EndpointError(ValueError):
    """A URL is empty, malformed, or not one this mode may talk to; or the mode itself is unknown."""


class MissingKeysError(ValueError):
    """API keys are needed and were not given."""


class ArmingError(RuntimeError):
    """Real money was asked for without everything that arms it."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs: ``trading`` and ``data`` without ``/v2`` and without trailing slash, the streams as full WebSocket URLs."""

    trading: str
    data: str
    trading_stream: str
    data_stream: str

    @classmethod
    def of_venue(cls, url: str, feed: str = "iex") -> Endpoints:
        """All four surfaces of a local venue on one address."""
        base = url.rstrip("/")
        socket = base.replace("http", "ws", 1)
        return cls(trading=base, data=base, trading_stream=f"{socket}/stream", data_stream=f"{socket}/v2/{feed}")

    @classmethod
    def of_alpaca(cls, mode: str, feed: str = "iex") -> Endpoints:
        """Alpaca's own hosts for ``paper`` or ``live``."""
        if mode not in ("paper", "live"):
            raise EndpointError(f"expected mode paper or live for Alpaca's hosts, found {mode!r}")
        host = "paper-api.alpaca.markets" if mode == "paper" else "api.alpaca.markets"
        return cls(
            trading=f"https://{host}",
            data="https://data.alpaca.markets",
            trading_stream=f"wss://{host}/stream",
            data_stream=f"wss://stream.data.alpaca.markets/v2/{feed}",
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """API keys; they do not show in a representation, a log or an error."""

    key: SecretStr
    secret: SecretStr

    @classmethod
    def of(cls, key: str | None, secret: str | None, mode: str) -> Credentials:
        """Wrap the keys of a mode; the simulation needs none and uses the local venue's.

        Raises: MissingKeysError when ``paper`` or ``live`` lacks one.
        """
        if mode == "sim":
            return cls(SecretStr(key or "sim"), SecretStr(secret or "sim"))
        missing = [name for name, value in (("API key", key), ("secret key", secret)) if not (value or "").strip()]
        if missing:
            raise MissingKeysError(
                f"mode {mode!r} needs Alpaca keys, missing: {' and '.join(missing)}. "
                f"Create them in the Alpaca dashboard for the {mode} account and put them in the environment, never in a run config"
            )
        return cls(SecretStr(str(key)), SecretStr(str(secret)))


def check_endpoints(mode: str, endpoints: Endpoints) -> None:
    """Refuse to go on unless every URL belongs to the hosts of ``mode``.

    Raises: EndpointError naming the URL, what was expected and what to do.
    """
    if mode not in MODES:
        raise EndpointError(f"unknown mode {mode!r}: expected one of {', '.join(MODES)}")
    _check_url(mode, "trading URL", endpoints.trading, "http", TRADING_HOSTS[mode])
    _check_url(mode, "trading stream URL", endpoints.trading_stream, "ws", TRADING_HOSTS[mode])
    _check_url(mode, "data URL", endpoints.data, "http", DATA_HOSTS[mode])
    _check_url(mode, "data stream URL", endpoints.data_stream, "ws", DATA_STREAM_HOSTS[mode])


def _check_url(mode: str, name: str, url: str, scheme: str, hosts: frozenset[str]) -> None:
    expected = f"{scheme}{'' if mode == 'sim' else 's'}"
    allowed = ", ".join(sorted(hosts))
    if not url.strip():
        raise EndpointError(f"{name} is empty: mode {mode!r} expects {expected}://<{allowed}>. An empty URL would reach Alpaca by default")
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise EndpointError(f"{name} carries credentials: give keys through the environment, not in a URL")
    if parts.scheme not in ({scheme, f"{scheme}s"} if mode == "sim" else {expected}):
        raise EndpointError(f"{name} {_shown(url)!r} has scheme {parts.scheme!r}: mode {mode!r} expects {expected}")
    if parts.hostname not in hosts:
        raise EndpointError(f"{name} {_shown(url)!r} is foreign to mode {mode!r}: expected host {allowed}, found {parts.hostname!r}")


def _shown(url: str) -> str:
    return url.split("?", 1)[0]


def check_arming(mode: str, typed_account: str | None, account_number: str, gate_profile: str) -> None:
    """Real money trades only if the account number was typed by a person and the model passed the ``live`` gate.

    Raises: ArmingError. Modes other than ``live`` need no arming.
    """
    if mode != "live":
        return
    if (typed_account or "").strip() != account_number:
        given = "nothing was typed" if not (typed_account or "").strip() else "the typed number differs"
        raise ArmingError(f"live mode is not armed: type the account number of the account to trade in the run config ({given})")
    if gate_profile != "live":
        raise ArmingError(
            f"live mode needs a model that passed the gate profile 'live', this one passed {gate_profile!r}: retrain or use paper"
        )
