"""How predictable the sequence of ups and downs is: entropies of returns coded as 0 (down), 1 (unchanged), 2 (up).

Lopez de Prado (2018), chapter 18. A window without any movement carries no message: NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.features.base import FloatArray, IntArray, Series, State, Windowed, register, require_integer
from alphatrade_pipelines.features.jit import kernel, row_kernel

BoolArray = npt.NDArray[np.bool_]

LETTERS = 3
_UNCHANGED = 1
_MISSING = -1


def code_returns(ret: FloatArray) -> IntArray:
    """0 for a loss, 1 for no change, 2 for a gain, -1 where there is no return."""
    return np.where(np.isfinite(ret), np.sign(ret) + _UNCHANGED, _MISSING).astype(np.int64)


def _codes(series: Series) -> IntArray:
    return code_returns(series.ret)


@register("plug_in_entropy", formula="-(1 / word) sum p log2 p, p the shares of the words of the coded returns", reference="Shannon (1948)")
@dataclass(frozen=True)
class PlugInEntropy(Windowed):
    """Bits a return, from the frequencies of words of ``word`` letters among the last ``window`` coded returns."""

    word: int = 2
    extra: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require_integer(self.kind, "word", self.word, 1)
        require_integer(self.kind, "window", self.window, self.word + 1)

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return word_entropy(series.once(_codes), self.window, self.word, LETTERS, first)


@register("lempel_ziv", formula="distinct phrases of the parsed coded returns / window", reference="Lempel and Ziv (1978)")
@dataclass(frozen=True)
class LempelZiv(Windowed):
    """Lempel-Ziv complexity of the last ``window`` coded returns: phrases of the dictionary parse, per letter."""

    extra: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return lempel_ziv(series.once(_codes), self.window, LETTERS, first)


@register(
    "kontoyiannis",
    formula="mean over i of log2(i + 1) / L[i], L the longest match of the message at i with its past, plus 1",
    reference="Kontoyiannis et al. (1998)",
)
@dataclass(frozen=True)
class Kontoyiannis(Windowed):
    """Entropy rate in bits a return from match lengths in an expanding past within the window (Lopez de Prado 2018, snippet 18.4)."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 4

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return match_length_entropy(series.once(_codes), self.window, first)


@kernel
def _is_message(codes: IntArray, width: int, first: int) -> BoolArray:
    """For rows ``first`` to the last: whether each of the last ``width`` letters is there and not all say "unchanged"."""
    usable = np.empty(codes.size - first, np.bool_)
    missing, moved = -1, -1  # where last
    for i in range(max(0, first - width + 1), codes.size):
        if codes[i] == _MISSING:
            missing = i
        elif codes[i] != _UNCHANGED:
            moved = i
        if i >= first:
            usable[i - first] = i >= width - 1 and missing <= i - width and moved > i - width
    return usable


def word_entropy(codes: IntArray, width: int, word: int, letters: int, first: int) -> FloatArray:
    """Plug-in entropy per letter, in bits, of the words within the last ``width`` letters."""
    words = codes.copy()  # the word that ends at each letter; nonsense at the start, where it is not used
    for back in range(1, word):
        words[back:] += codes[: len(codes) - back] * letters**back
    return _word_entropy(words, _is_message(codes, width, first), np.zeros(letters**word, dtype=np.int64), _bits(width), width, word, first)


@lru_cache(maxsize=32)
def _bits(width: int) -> FloatArray:
    """n log2 n for n up to ``width``."""
    count = np.arange(width + 1, dtype=np.float64)
    return count * np.log2(np.maximum(count, 1.0))


@row_kernel
def _word_entropy(
    out: FloatArray, words: IntArray, usable: BoolArray, counts: IntArray, bits: FloatArray, width: int, word: int, first: int
) -> None:
    """Counts are kept from row to row: they are integers, so exactly. ``bits[n]`` = n log2 n."""
    total = width - word + 1
    filled = False
    for i in range(first, words.size):
        if not usable[i - first]:
            filled = False
            continue
        if filled:
            counts[words[i - total]] -= 1
            counts[words[i]] += 1
        else:
            for at in range(counts.size):
                counts[at] = 0
            for k in range(i - total + 1, i + 1):
                counts[words[k]] += 1
            filled = True
        spread = 0.0
        for at in range(counts.size):
            spread += bits[counts[at]]
        out[i - first] = (bits[total] - spread) / (total * word)


def lempel_ziv(codes: IntArray, width: int, letters: int, first: int) -> FloatArray:
    """Phrases of the dictionary parse of the last ``width`` letters, a phrase being the shortest string not yet met as one, per letter."""
    return _phrases(codes, _is_message(codes, width, first), np.empty((width + 1) * letters, dtype=np.int64), width, letters, first)


@row_kernel
def _phrases(out: FloatArray, codes: IntArray, usable: BoolArray, child: IntArray, width: int, letters: int, first: int) -> None:
    """Walks a tree of phrases: ``child[node * letters + letter]`` is the next node, 0 where there is none yet."""
    for i in range(first, codes.size):
        if not usable[i - first]:
            continue
        phrases, node = 0, 0
        for letter in range(letters):
            child[letter] = 0
        for k in range(i - width + 1, i + 1):
            edge = node * letters + codes[k]
            node = child[edge]
            if node == 0:
                phrases += 1
                child[edge] = phrases
                for letter in range(phrases * letters, phrases * letters + letters):
                    child[letter] = 0
        out[i - first] = phrases / width


def match_length_entropy(codes: IntArray, width: int, first: int) -> FloatArray:
    """Kontoyiannis' estimator with an expanding past: positions 1 to width / 2, the match limited to the length of that past."""
    return _match_lengths(codes, _is_message(codes, width, first), width, first)


@row_kernel
def _match_lengths(out: FloatArray, codes: IntArray, usable: BoolArray, width: int, first: int) -> None:
    for i in range(first, codes.size):
        if not usable[i - first]:
            continue
        begin = i - width + 1
        total = 0.0
        for at in range(1, width // 2 + 1):
            longest = 0
            for start in range(at):
                length = 0
                while length < at and at + length < width and codes[begin + start + length] == codes[begin + at + length]:
                    length += 1
                longest = max(longest, length)
            total += math.log2(at + 1.0) / (longest + 1.0)
        out[i - first] = total / (width // 2)
