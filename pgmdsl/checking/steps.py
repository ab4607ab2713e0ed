"""Comparisons of what every generated file has: the generator of random bits, and the optimisers' steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pgmdsl.checking.comparison import Answer, Comparison, exact
from pgmdsl.runtime.kernels import Kernels

_KEY, _WORD = 0x548C9DECBCE65297, 2**64


def step_comparisons() -> list[Comparison]:
    """The five steps of optimisers against their equations in NumPy."""
    rng = np.random.default_rng(5)
    w, velocity, gradient, second = rng.normal(size=(4, 3, 2))
    second = second**2
    a, da = rng.normal(size=(2, 3))
    b, db = rng.normal(size=(2, 2))
    row, column = rng.normal(size=3), rng.normal(size=2)

    def momentum() -> list[Any]:
        v = 0.9 * velocity + 0.1 * (gradient - 0.3 * w)
        return [w + v, v, gradient]

    def centred() -> list[Any]:
        v = 0.9 * velocity + 0.1 * (gradient - np.outer(a, db) - np.outer(da, b) - 0.3 * w)
        return [w + v, v, row + v @ b, column + a @ v]

    def adam() -> list[Any]:
        m, v = 0.9 * velocity + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        return [w + 0.1 * (m / (1 - 0.9**3)) / (np.sqrt(v / (1 - 0.99**3)) + 0.2), m, v]

    def rmsprop() -> list[Any]:
        v = 0.9 * second + 0.1 * gradient**2
        return [w + 0.1 * gradient / (np.sqrt(v) + 0.2), v]

    def step(name: str, arrays: list[Any], numbers: tuple[float, ...], after: list[Any] | None = None) -> Any:
        def call(k: Kernels) -> Answer:
            changed, more = [x.copy() for x in arrays], [x.copy() for x in after or []]
            getattr(k, name)(*changed, *numbers, *more)
            return [*(x for x in changed if x.ndim == 2), *more]

        return call

    steps: dict[str, tuple[Any, Callable[[], list[Any]]]] = {
        "momentum_step": (step("momentum_step", [w, velocity, gradient], (0.1, 0.9, 0.3)), momentum),
        "centred_step": (
            step("centred_step", [w, velocity, gradient, a, b, da, db], (0.1, 0.9, 0.3), [row, column]),
            lambda: [*centred()[:2], gradient, *centred()[2:]],
        ),
        "average_step": (step("average_step", [w, velocity], (0.3,)), lambda: [w + 0.3 * (velocity - w), velocity]),
        "adam_step": (
            step("adam_step", [w, velocity, second, gradient], (0.1, 0.9, 0.99, 0.2, 3)),
            lambda: [*adam(), gradient],
        ),
        "rmsprop_step": (
            step("rmsprop_step", [w, second, gradient], (0.1, 0.9, 0.2)),
            lambda: [*rmsprop(), gradient],
        ),
    }
    return [exact((name,), "its equations in NumPy", call, wanted) for name, (call, wanted) in steps.items()]


def bits_comparison() -> Comparison:
    """The random bits, by way of bits drawn at probabilities that are each uniform number, and the next larger float.

    The generator is Squares of Widynski (2020), here in Python's whole numbers.
    """
    counters = [0, 1, 2**32 + 5, 2**63 + 11, _WORD - 8]

    def uniforms(base: int) -> Any:
        return np.array([((_squares((base + i) % _WORD) >> 12) + 0.5) * 2.0**-52 for i in range(6)]).reshape(3, 2)

    def call(k: Kernels) -> Answer:
        out = []
        for base in counters:
            for levels in (uniforms(base), np.nextafter(uniforms(base), 1.0)):
                bits = np.full((3, 2), 7.0)
                k.draw_bits(levels, base, bits)
                out.append(bits)
        return out

    def wanted() -> list[Any]:
        return [np.full((3, 2), float(above)) for _ in counters for above in (False, True)]

    return exact(("draw_bits",), "random bits by the generator's published rounds, in whole numbers", call, wanted)


def _squares(counter: int) -> int:
    """64 random bits of a counter: Widynski (2020), arXiv:2004.06278, squares64."""
    y = counter * _KEY % _WORD
    z = (y + _KEY) % _WORD
    x = y
    for add in (y, z, y):
        x = (x * x + add) % _WORD
        x = (x >> 32 | x << 32) % _WORD
    t = (x * x + z) % _WORD
    x = (t >> 32 | t << 32) % _WORD
    return t ^ ((x * x + y) % _WORD >> 32)
