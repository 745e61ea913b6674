"""The backtest: the core over history, with the exchange in process and virtual time.

It is the live session without the wire: the same engine, the same commands, the same order of events. At each point of the tape:
corporate actions, then order updates, then the clock; once bars are known: prices, account, signals. Features and probabilities of all
bars are computed beforehand in one batch, which by contract equals the stream to the last bit, and enter as the same signals.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pandas as pd

from alphatrade_pipelines.backtest.broker import ExchangeBroker, corporate_events
from alphatrade_pipelines.backtest.history import History
from alphatrade_pipelines.backtest.result import BacktestResult, make_result
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import ModelRef, Signal
from alphatrade_pipelines.trading.engine import Engine
from alphatrade_pipelines.trading.events import AccountSeen, Event, PriceSeen, SessionEnded, SessionStarted, SignalReceived
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig, Step
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import BarTape

Progress = Callable[[datetime], None]


@dataclass
class _Run:
    """One backtest in motion."""

    exchange: Exchange
    broker: ExchangeBroker
    engine: Engine
    meter: ProtectionMeter

    def settle(self, event: Event) -> None:
        """Hand an event to the engine and back what its commands came to, until nothing follows."""
        todo = deque([event])
        while todo:
            happened = todo.popleft()
            commands = self.engine.handle(happened)
            if not isinstance(happened, PriceSeen | SignalReceived):  # neither moves a share or a stop: time is charged at the next event
                self.meter.observe(self.engine.state)
            for command in commands:
                answer = self.broker.execute(command, self.exchange.now)
                if answer is not None:
                    todo.append(answer)

    def absorb(self) -> None:
        """Take in what the market did in answer, until it does nothing more."""
        while updates := self.broker.updates():
            for update in updates:
                self.settle(update)

    def step(self, step: Step, signals: Iterable[Signal]) -> None:
        """One point of the tape, in the order a live session works it off."""
        updates = self.broker.updates()
        for action in corporate_events(step.corporate_actions, step.at):
            self.settle(action)
        for update in updates:
            self.settle(update)
        self.absorb()
        self.settle(self.broker.clock())
        self.absorb()
        if step.bars:
            self._decide(step, signals)
            self.absorb()

    def _decide(self, step: Step, signals: Iterable[Signal]) -> None:
        for bar in sorted(step.bars, key=lambda bar: bar.symbol):
            self.settle(PriceSeen(step.at, bar.symbol, Decimal(repr(bar.close)), Decimal(repr(bar.volume))))
        self.settle(AccountSeen(step.at, self.broker.account()))
        for signal in sorted(signals, key=lambda signal: signal.symbol):
            self.settle(SignalReceived(step.at, signal))


def run_backtest(
    bars: pd.DataFrame,
    signals: Iterable[Signal],
    exchange: ExchangeConfig,
    core: CoreConfig,
    model: ModelRef,
    timeframe: Timeframe,
    calendar: SessionCalendar,
    progress: Progress | None = None,
    every_event: bool = True,
) -> BacktestResult:
    """Trade ``signals`` over the sessions of ``bars`` from ``exchange.start`` on.

    Args:
        bars: raw bars (see ``market``); those before the start give prices and lagged volatility, the others are played.
        signals: of any timestamps, any order; each is acted upon at its own decision time, those of other times are ignored.
        exchange: cash, fill profile, seed, start and end; the same values make the paper session over the same days repeat this run.
        core: configuration of the trading core, as in live.
        model: what the signals came from.
        progress: called with the time reached after each session.
        every_event: keep all events in the result; without, prices and signals nobody acted on are left out of it (see ``History``).

    Raises:
        ValueError: nothing to play, or a start inside a session.
    """
    tape = BarTape(bars, timeframe, calendar)
    market = Exchange(tape, exchange)
    log = History(every_event)
    run = _Run(market, ExchangeBroker(market), Engine(core, log), ProtectionMeter())
    due: dict[datetime, list[Signal]] = defaultdict(list)
    for signal in signals:
        due[signal.decision_time].append(signal)
    del signals  # millions of them: each goes with its session
    began = market.now
    run.settle(SessionStarted(began, "backtest", "backtest", model, run.broker.account(), core.to_json()))
    run.settle(run.broker.clock())
    held: list[int] = []
    while (step := market.advance()) is not None:
        run.step(step, due.pop(step.at, ()))
        if step.kind == "session_close":
            held.append(len(run.engine.state.positions))
            if progress is not None:
                progress(step.at)
    run.settle(SessionEnded(market.now, "end of the tape"))
    return make_result(market, log, run.meter, began, held)
