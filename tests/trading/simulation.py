"""Seeded sessions with every fault at once: a story is a list of steps, so a failing seed can be read and replayed."""

from __future__ import annotations

import random

from alphatrade_pipelines.trading import CoreConfig
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell

SYMBOLS = ("AAPL", "IBM", "MSFT")
Story = list[tuple[object, ...]]


def random_faults(rng: random.Random) -> Faults:
    """Some faults, some of the time."""
    names = ("lost", "unsent", "unanswered", "refused", "late_reject", "partial", "stuck", "mute_reads")
    some = {name: rng.choice((0.0, 0.0, 0.1, 0.4)) for name in names}
    dropped, doubled = rng.choice((0.0, 0.0, 0.2)), rng.choice((0.0, 0.3))
    shuffled, silent = rng.random() < 0.3, rng.random() < 0.3
    return Faults(**some, dropped=dropped, doubled=doubled, shuffled=shuffled, silent_sibling=silent)


def random_story(seed: int, length: int = 40) -> Story:
    """Prices wander, signals come, people meddle, the wire misbehaves."""
    rng = random.Random(seed)
    prices = dict.fromkeys(SYMBOLS, 100.0)
    story: Story = [*(("price", symbol, 100) for symbol in SYMBOLS), ("open_market",), ("faults", random_faults(rng))]
    for _ in range(length):
        symbol = rng.choice(SYMBOLS)
        draw = rng.random()
        if draw < 0.30:
            prices[symbol] = round(prices[symbol] * rng.uniform(0.96, 1.04), 2)
            story.append(("price", symbol, prices[symbol]))
        elif draw < 0.55:
            story.append(("signal", symbol, rng.choice((30.0, 300.0, 86400.0))))
        elif draw < 0.80:
            story.append(("tick", rng.choice((1.0, 5.0, 30.0, 600.0))))
        elif draw < 0.84:
            story.append(("reconnect",))
        elif draw < 0.88:
            story.append(("crash",))
        elif draw < 0.91:
            story.append(("close_market",) if rng.random() < 0.5 else ("open_market",))
        elif draw < 0.93:
            story.append(("by_hand", symbol, rng.randint(1, 20)))
        elif draw < 0.94:
            meddling = (("fraction_by_hand", 40), ("rest_by_hand", 5), ("move_stop_by_hand", -3), ("move_stop_by_hand", 1))
            word, amount = rng.choice(meddling)
            story.append((word, symbol, amount))
        elif draw < 0.96:
            story.append(("split", symbol, 2))
            prices[symbol] = round(prices[symbol] / 2, 2)
        elif draw < 0.98:
            story.append(("operator", rng.choice(("halt", "flatten", "resume", "resume"))))
        else:
            story.append(("faults", random_faults(rng)))
    return [*story, ("open_market",), ("settle",)]


def play(seed: int, *, fingerprints: bool = False, config: CoreConfig | None = None) -> Shell:
    """One session of ``seed``; the shell afterwards."""
    shell = Shell(config, seed)
    shell.fingerprints = fingerprints
    shell.broker.prices = {}
    shell.run([("start",), *random_story(seed)])
    return shell


def violations(seed: int) -> list[str]:
    """What broke in the session of ``seed``; an assertion or error inside it counts as broken too."""
    try:
        return play(seed).check()
    except Exception as error:  # noqa: BLE001 - a mutant may break anything
        return [f"{type(error).__name__}: {error}"]
