# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
"""Source embedded in generated files of count and real units: log factorials, and normal distributions cut off.

All in float64. A unit that needs several random numbers has further counters besides its own: number t of the unit
with counter c is at c + t STRIDE. STRIDE is 2^64 over the golden ratio, whose multiples t STRIDE, t < T, are 2^64 /
(3 T) apart at least; the counters of one call are as many numbers in a row as there are units, so none is met twice.

Sources: Abramowitz and Stegun (1964), 26.2.14 (continued fraction of Mills's ratio); Robert (1995), "Simulation of
truncated normal variables".
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pgmdsl.compiler.primitives_base import SCALAR, exp64, uniform64

Three = tuple[float, float, float]

STRIDE = np.uint64(0x9E3779B97F4A7C15)
WIDEST = 1e5  # the largest standard deviation of a count that is drawn by its exact probabilities
SEARCH = 150  # steps of doubling and halving by which the field of a mean is found
TRIES = 400  # of a rejection sampler that accepts with probability 0.4 at least: out of them in 1 of 10^88 draws
LOG_FACTORIALS = np.array([math.lgamma(k + 1.0) for k in range(1024)])
LEGENDRE = np.polynomial.legendre.leggauss(24)  # nodes and weights of Gauss's rule on (-1, 1)


@njit(**SCALAR)
def further(counter: np.uint64, t: int) -> float:
    """Uniform number t of the unit with this counter, in (0, 1)."""
    return uniform64(np.uint64(counter + np.uint64(t) * STRIDE))


@njit(**SCALAR)
def further_normal(counter: np.uint64, t: int) -> float:
    """A standard normal number from the uniform numbers t and t + 1 (Box and Muller)."""
    return math.sqrt(-2.0 * math.log(further(counter, t))) * math.cos(2.0 * math.pi * further(counter, t + 1))


@njit(**SCALAR)
def log_factorial(x: float) -> float:
    """The log of x!, of the gamma function of x + 1 where x is not whole."""
    if 0.0 <= x < 1024.0 and x == math.floor(x):
        return LOG_FACTORIALS[int(x)]
    return math.lgamma(x + 1.0)


@njit(**SCALAR)
def tail_moments(x: float) -> Three:
    """M, e, q for x >= 0: the integral of exp(-x y - y^2/2) over y > 0, and the means of y and y^2 under it.

    M is Mills's ratio, e = 1/M - x and q = 1 - x e. By erfc up to 4; from there on by M = 1/(x + r_1), r_k = k/(x +
    r_(k+1)), where no digit is lost by subtraction: e = r_1, q = r_1 r_2. Accurate to 1e-12.
    """
    if x < 4.0:
        mass = math.sqrt(0.5 * math.pi) * math.exp(0.5 * x * x) * math.erfc(x / math.sqrt(2.0))
        mean = 1.0 / mass - x
        return mass, mean, 1.0 - x * mean
    rest = 0.0
    for k in range(6 + int(min(25.0, 100.0 / x)), 1, -1):
        rest = k / (x + rest)
    mean = 1.0 / (x + rest)
    return 1.0 / (x + mean), mean, rest * mean


@njit(**SCALAR)
def log_normal_cdf(x: float) -> float:
    """The log of the standard normal distribution function, to double precision however small it is."""
    if x > 0.0:
        return math.log1p(-0.5 * math.erfc(x / math.sqrt(2.0)))
    return math.log(tail_moments(-x)[0]) - 0.5 * x * x - 0.5 * math.log(2.0 * math.pi)


@njit(**SCALAR)
def falling_moments(steep: float, width: float) -> Three:
    """The integral of exp(-steep y - y^2/2) over 0 < y < width, and the means of y and y^2 under it; steep >= -width.

    Where the integrand falls to e^-40 the bound is as good as none. Narrow intervals by Gauss's rule: the differences
    of the closed form would lose digits there.
    """
    fall = width * (steep + 0.5 * width)
    if fall > 40.0:
        return tail_moments(steep)
    if width > 1.0:
        last = exp64(-fall)
        mass = tail_moments(steep)[0] - last * tail_moments(steep + width)[0]
        mean = (1.0 - last) / mass - steep
        return mass, mean, 1.0 - width * last / mass - steep * mean
    mass, first, second = 0.0, 0.0, 0.0
    nodes, weights = LEGENDRE
    for n in range(24):
        y = 0.5 * width * (nodes[n] + 1.0)
        weight = weights[n] * exp64(-y * (steep + 0.5 * y))
        mass += weight
        first += weight * y
        second += weight * y * y
    return 0.5 * width * mass, first / mass, second / mass


@njit(**SCALAR)
def piece_moments(f: float, lower: float, upper: float, curvature: float, slope: float, constant: float) -> Three:
    """Log of the integral of exp(f s - curvature s^2/2 - slope s - constant), and the means of s and s^2 under it.

    Over lower < s < upper, which may be infinite; the curvature is above 0. The integrand is highest at the mode or at
    the bound next to it; the integral is taken in units of its value there, outward.
    """
    pull, root = f - slope, math.sqrt(curvature)
    mode, width = pull / curvature, root * (upper - lower)
    if lower <= mode <= upper and width > 1.0:
        a, b = min(root * (mode - lower), 40.0), min(root * (upper - mode), 40.0)
        mass = math.sqrt(0.5 * math.pi) * (math.erf(a / math.sqrt(2.0)) + math.erf(b / math.sqrt(2.0)))
        low, high = exp64(-0.5 * a * a), exp64(-0.5 * b * b)
        mean, spread = (low - high) / (mass * root), (1.0 - (a * low + b * high) / mass) / curvature
        height = 0.5 * pull * mode
        return height - constant + math.log(mass / root), mode + mean, mode * mode + 2.0 * mode * mean + spread
    side, bound = (1.0, lower) if mode <= 0.5 * (lower + upper) else (-1.0, upper)
    mass, first, second = falling_moments(side * root * (bound - mode), width)
    height = bound * (pull - 0.5 * curvature * bound)
    step = side * first / root
    square = bound * bound + 2.0 * bound * step + second / curvature
    return height - constant + math.log(mass / root), bound + step, square


@njit(**SCALAR)
def draw_falling(steep: float, width: float, counter: np.uint64, t: int) -> float:
    """A y with density ~ exp(-steep y - y^2/2) on 0 < y < width, steep > 0, from the uniform numbers from t on.

    Proposed from an exponential distribution (Robert 1995), or evenly where the interval is narrow for that.
    """
    rate = 0.5 * (steep + math.sqrt(steep * steep + 4.0))
    for n in range(t, t + TRIES, 2):
        if rate * width < 1.5:
            y = width * further(counter, n)
            level = -y * (steep + 0.5 * y)
        else:
            y = -math.log(further(counter, n)) / rate
            level = -0.5 * (steep + y - rate) ** 2
        if y <= width and math.log(further(counter, n + 1)) <= level:
            return y
    return 0.0 * steep


@njit(**SCALAR)
def draw_piece(
    f: float, lower: float, upper: float, curvature: float, slope: float, counter: np.uint64, t: int
) -> float:
    """An s with density ~ exp(f s - curvature s^2/2 - slope s) between the bounds, by the uniform numbers from t on."""
    root = math.sqrt(curvature)
    mode = (f - slope) / curvature
    a, b = root * (lower - mode), root * (upper - mode)
    if a > 0.0:
        return lower + draw_falling(a, b - a, counter, t) / root
    if b < 0.0:
        return upper - draw_falling(-b, b - a, counter, t) / root
    for n in range(t, t + TRIES, 2):
        if b - a > 2.5:
            z = further_normal(counter, n)
            if a <= z <= b:
                return min(max(mode + z / root, lower), upper)
        else:
            z = a + (b - a) * further(counter, n)
            if math.log(further(counter, n + 1)) <= -0.5 * z * z:
                return min(max(mode + z / root, lower), upper)
    return mode
