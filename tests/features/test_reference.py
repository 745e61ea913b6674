"""Published values, to the digits printed: mlfinlab's E-mini dollar bars, the toy message of Lopez de Prado (2018), EDGE, Corwin-Schultz.

The bars are the sample of mlfinpy 0.1.2 (``tests/tools/published.py``).
"""

from __future__ import annotations

import bidask
import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.features.base import FloatArray, Series
from alphatrade_pipelines.features.catalogue import microstructure, spreads
from alphatrade_pipelines.features.catalogue.entropy import lempel_ziv, match_length_entropy, word_entropy
from alphatrade_pipelines.features.kernels import normal_cdf, rolling_mean, rolling_variance
from tests.tools.published import dollar_bars

WINDOW = 20
MESSAGE = np.array([int(letter) for letter in "11100001"], dtype=np.int64)


def series(open, high, low, close, volume, ret=None) -> Series:  # type: ignore[no-untyped-def]
    logs = [np.log(np.asarray(x, dtype=np.float64)) for x in (open, high, low, close)]
    change = np.concatenate([[np.nan], np.diff(logs[3])]) if ret is None else ret
    nothing = np.full(len(change), np.nan)
    return Series(*logs, np.asarray(close, np.float64), np.asarray(volume, np.float64), change, nothing, nothing, nothing)


def values(bars: pd.DataFrame) -> dict[str, FloatArray]:
    """The table's features; the table takes prices where the catalogue takes logs, and traded dollars as the venue counted them."""
    prices = [bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close")]
    shares, dollars = bars["cum_vol"].to_numpy(np.float64), bars["cum_dollar"].to_numpy(np.float64)
    change = np.concatenate([[np.nan], np.diff(prices[3])])
    in_dollars = series(*prices, dollars / prices[3])
    in_shares = series(*prices, shares, change)
    imbalance = np.abs(microstructure.bulk_imbalance(change, shares, WINDOW))
    bought = normal_cdf(change / np.sqrt(rolling_variance(change, WINDOW, 0)))
    return {
        "roll": spreads.Roll(WINDOW).compute(in_shares, 0, "", None),
        "corwin_schultz": spreads.CorwinSchultz(WINDOW).compute(in_shares, 0, "", None),
        "becker_parkinson": spreads.BeckerParkinson(WINDOW).compute(in_shares, 0, "", None),
        "kyle": microstructure.KyleRatio(WINDOW).compute(in_shares, 0, "", None),
        "amihud": microstructure.Amihud(WINDOW).compute(in_dollars, 0, "", None),
        "hasbrouck": microstructure.HasbrouckLambda(WINDOW).compute(in_dollars, 0, "", None),
        "vpin_1": np.abs(2.0 * bought - 1.0),
        "vpin_20": rolling_mean(imbalance, WINDOW, 0) / shares,  # the table divides the mean imbalance by the current volume
    }


def test_values_at_a_row() -> None:
    found = values(dollar_bars())
    at_25 = {
        "roll": (1.176525, 5e-7),
        "corwin_schultz": (0.00139617, 5e-9),
        "becker_parkinson": (0.000517, 5e-7),
        "kyle": (7.762172e-5, 5e-12),
        "amihud": (1.843986e-11, 5e-18),
        "hasbrouck": (1.543325e-7, 5e-14),
        "vpin_1": (0.5540520, 5e-8),
    }
    for name, (expected, half_digit) in at_25.items():
        assert found[name][25] == pytest.approx(expected, abs=1.01 * half_digit, rel=0), name
    assert found["vpin_20"][45] == pytest.approx(0.4638173, abs=5e-8)


def test_maxima_and_means() -> None:
    found = values(dollar_bars())
    table = {
        "roll": (7.158451, 2.341811, 5e-7),
        "corwin_schultz": (0.01652242, 0.00151603, 5e-9),
        "becker_parkinson": (0.018773, 0.001456, 1e-6),  # the table cuts digits off here
        "kyle": (1.634238e-4, 7.020106e-5, 5e-11),
        "amihud": (4.057839e-11, 1.721321e-11, 5e-18),
        "hasbrouck": (3.395276e-7, 1.440372e-7, 5e-14),
        "vpin_1": (0.9999745, 0.5011433, 5e-8),
        "vpin_20": (0.6811842, 0.5000735, 5e-8),
    }
    for name, (largest, mean, half_digit) in table.items():
        assert np.nanmax(found[name]) == pytest.approx(largest, abs=1.01 * half_digit, rel=0), name
        assert np.nanmean(found[name]) == pytest.approx(mean, abs=1.01 * half_digit, rel=0), name


def test_corwin_schultz_terms_by_hand() -> None:
    two = series([10.0, 10.2], [10.1, 10.3], [9.9, 10.1], [10.0, 10.2], [1.0, 1.0])
    beta, gamma = spreads.corwin_schultz_terms(two, 1, 0)
    assert beta[1] == pytest.approx(0.0007845188, abs=5e-11)
    assert gamma[1] == pytest.approx(0.0015688838, abs=5e-11)


OHLC = (
    [100, 101.2, 100.5, 102.1, 101.8, 103, 102.4, 104.1, 103.6, 105.2, 104.8, 106],
    [101, 101.9, 101.3, 102.8, 102.5, 103.6, 103.2, 104.7, 104.3, 105.8, 105.5, 106.6],
    [99.4, 100.6, 99.9, 101.3, 101, 102.2, 101.7, 103.4, 102.9, 104.5, 104, 105.3],
    [101.1, 100.7, 101, 102.3, 101.6, 103.2, 102.1, 104.4, 103.3, 105.4, 104.4, 106.4],
)


def test_edge_published_value() -> None:
    found = spreads.Edge(11).compute(series(*OHLC, np.ones(12)), 0, "", None)
    assert found[-1] == pytest.approx(0.006962635220907141, rel=1e-13)


def test_edge_equals_its_authors() -> None:
    rng = np.random.default_rng(3)
    close = 50.0 * np.exp(np.cumsum(rng.standard_normal(300) * 0.01))
    opening = np.concatenate([[50.0], close[:-1]]) * np.exp(rng.standard_normal(300) * 0.002)
    high = np.maximum(opening, close) * np.exp(np.abs(rng.standard_normal(300)) * 0.004 * (rng.random(300) < 0.8))
    low = np.minimum(opening, close) * np.exp(-np.abs(rng.standard_normal(300)) * 0.004 * (rng.random(300) < 0.8))
    found = spreads.Edge(21).compute(series(opening, high, low, close, np.ones(300)), 0, "", None)
    for i in range(21, 300):
        part = slice(i - 21, i + 1)
        assert found[i] == pytest.approx(bidask.edge(opening[part], high[part], low[part], close[part]), rel=1e-9), i


def test_entropies_of_the_toy_message() -> None:
    """The book's plug-in code leaves the last word of the message out: 0.985 is the entropy of the first seven letters."""
    letters = 2
    assert word_entropy(MESSAGE, 8, 1, letters, 7)[0] == 1.0
    assert word_entropy(MESSAGE[:7], 7, 1, letters, 6)[0] == pytest.approx(0.985, abs=5e-4)
    assert lempel_ziv(MESSAGE, 8, letters, 7)[0] == 0.625
    assert match_length_entropy(MESSAGE, 8, 7)[0] == pytest.approx(0.9682, abs=5e-5)
