"""The command line of the venue: ``alphatrade venue`` and ``python -m alphatrade_pipelines.venue``."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from alphatrade_pipelines import logs
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.profiles import PROFILES
from alphatrade_pipelines.venue.faults import listing, scenario
from alphatrade_pipelines.venue.run import BarsConfig, VenueConfig, parse_instant, serve
from alphatrade_pipelines.venue.server.app import SESSION_SECONDS, ServerConfig

_LARGEST_PORT = 65_535
_INTERRUPTED = 130
_EXPOSED = "--host {host} lets other machines in; whoever knows the keys can trade here, and nothing on the way is encrypted"


class _Parser(argparse.ArgumentParser):
    """One clear line instead of a screenful of usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (alphatrade venue --help lists the options)")


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None
    if not amount.is_finite():
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}")
    return amount


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {_LARGEST_PORT}, found {text!r}")
    return int(text)


def _night(text: str) -> float | None:
    try:
        return None if text == "full" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds of wall clock or full, found {text!r}") from None


def _switch(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, found {text!r}")
    return name.strip(), value.strip()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="alphatrade venue",
        description="A local exchange that speaks Alpaca's protocol. Point any Alpaca client at the address it prints; Ctrl-C ends it. "
        "`alphatrade venue faults` lists the faults it can play.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    bars = parser.add_argument_group("bars")
    bars.add_argument("--bars", default="sample", help="sample, synthetic, or the path of a bar store or of bar files")
    bars.add_argument("--symbols", default="", help="comma-separated, all when empty")
    bars.add_argument("--timeframe", help="of synthetic bars (1Min when not given) or bar files: 1Day, 5Min ...")
    bars.add_argument("--extended-hours", action="store_true", help="invent and play the hours before and after each session too")
    bars.add_argument("--layout", default="symbol_column", help="of bar files: symbol_column or file_per_symbol")
    bars.add_argument("--timezone", help="of naive time stamps in bar files")
    play = parser.add_argument_group("what is played")
    play.add_argument("--start", help="date or time with zone, outside session hours; before it is history (default: 60 sessions to play)")
    play.add_argument("--end", help="no session that opens later is played")
    play.add_argument("--cash", type=_amount, default="100000")
    play.add_argument("--multiplier", type=_amount, default="4", help="leverage of buying power; 1 = cash account")
    play.add_argument("--profile", default="base", choices=list(PROFILES), help="how kindly orders fill; the demo is pessimistic")
    play.add_argument(
        "--fidelity", type=_switch, action="append", metavar="NAME=VALUE", help="an uncertain rule of Alpaca, see docs/venue.md"
    )
    play.add_argument("--faults", metavar="FILE", help="a scenario file, or the name of a shipped one (f01 to f30)")
    play.add_argument("--seed", type=int, default=0)
    play.add_argument("--account", help="account number")
    play.add_argument("--path-points", type=int, help="prices a bar is walked in, 4 or more (default: about one a wall second; stepped: 4)")
    _add_pace(parser)
    _add_server(parser)
    return parser


def _add_pace(parser: argparse.ArgumentParser) -> None:
    time = parser.add_argument_group("time")
    pace = time.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, default=SESSION_SECONDS / 60, help="venue seconds a second; default: a session a minute")
    pace.add_argument("--step", action="store_true", help="time moves by POST /admin/step only")
    pace.add_argument("--real-time", action="store_true", help="a venue second a second")
    time.add_argument("--nights", type=_night, default=3.0, metavar="SECONDS|full", help="what a night or a weekend takes")


def _add_server(parser: argparse.ArgumentParser) -> None:
    serving = parser.add_argument_group("server")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen at; only this machine can reach the default")
    serving.add_argument("--port", type=_port, default=0, help="0 picks a free one")
    serving.add_argument("--key", default="sim")
    serving.add_argument("--secret", default="sim")
    serving.add_argument("--rate-limit", type=int, default=0, help="requests a minute, 0 = none (Alpaca: 200)")
    serving.add_argument("--connection-limit", type=int, default=1, help="clients of a data feed, 0 = any number (Alpaca: 1)")
    serving.add_argument("--symbol-limit", type=int, default=0, help="trade and quote subscriptions of a client, 0 = none (free plan: 30)")
    serving.add_argument("--idle-exit", type=float, help="end when abandoned for so many seconds")
    serving.add_argument("--state-file", type=Path, help="gets the address as JSON once the port is open")


def config_of(args: Sequence[str]) -> VenueConfig:
    """The configuration a command line asks for.

    Raises:
        ValueError: a value that cannot be used. SystemExit: after ``--help``.
    """
    given = _parser().parse_args(args)
    symbols = tuple(name.strip() for name in given.symbols.split(",") if name.strip())
    return VenueConfig(
        bars=BarsConfig(given.bars, symbols, given.timeframe, given.layout, given.timezone, given.seed, given.extended_hours),
        exchange=_exchange_config(given),
        server=_server_config(given),
        state_file=given.state_file,
        path_points=given.path_points,
    )


def _exchange_config(given: argparse.Namespace) -> ExchangeConfig:
    return ExchangeConfig(
        start=parse_instant(given.start) if given.start else None,
        end=parse_instant(given.end) if given.end else None,
        cash=given.cash,
        profile=given.profile,
        seed=given.seed,
        account_number=given.account,
        multiplier=given.multiplier,
        fidelity=Fidelity.of(dict(given.fidelity or ())),
    )


def _server_config(given: argparse.Namespace) -> ServerConfig:
    return ServerConfig(
        host=given.host,
        port=given.port,
        key=given.key,
        secret=given.secret,
        mode="stepped" if given.step else "real_time" if given.real_time else "accelerated",
        speed=given.speed,
        closed_seconds=given.nights,
        requests_per_minute=given.rate_limit,
        connection_limit=given.connection_limit,
        symbol_limit=given.symbol_limit,
        idle_exit_seconds=given.idle_exit,
        scenario=scenario.load(given.faults) if given.faults else None,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run a venue; 0 after a clean end, 2 with one clear line when it cannot start, 130 when it was interrupted before it had begun."""
    given = sys.argv[1:] if args is None else list(args)
    try:
        if given[:1] == ["faults"]:
            return listing.main(given[1:])
        config = config_of(given)
        if config.server.is_reachable_from_outside:
            sys.stderr.write(f"alphatrade venue: warning: {_EXPOSED.format(host=config.server.host)}\n")
        logs.configure()  # to standard error: standard output carries the address, for programs to read
        return serve(config)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ValueError, OSError) as error:
        sys.stderr.write(f"alphatrade venue: {_one_line(error, given)}\n")
        return 2


def _one_line(error: ValueError | OSError, given: Sequence[str]) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {config_of(given).server.port} is taken; give another --port, or 0 for any free one"
    if isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
        server = config_of(given).server
        return f"cannot listen at {server.host} port {server.port}: {error.strerror}"
    return " ".join(str(error).split())
