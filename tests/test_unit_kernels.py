"""The kernels of every unit type against sums, integrals and distributions taken from its energy alone.

Chi-square and Kolmogorov-Smirnov tests have fixed seeds, and one in 100,000 correct samplers would fail each.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, stats
from unit_kernels import DECLARED, EVERY, OWN, SCALAR, Kernel, declared, density, exact, formula, planned

from pgmdsl.compiler.emit_units import state_array, statistic_array
from pgmdsl.compiler.plan_units import Countable, Normal, Pieces, Table, TwoPoint, plan_unit
from pgmdsl.compiler.units import Finite, Naturals, Piece, Real
from pgmdsl.grammar.diagnostics import Error
from pgmdsl.grammar.format import format_expression

SMALLEST_P = 1e-5
FIELDS = np.array([-30.0, -9.0, -3.1, -0.8, 0.0, 0.4, 1.9, 4.2])
EXTREME = np.array([-500.0, -80.0, 80.0, 500.0])
SOLVED = [name for name, unit in SCALAR.items() if unit.field_of_mean is None]
SLOPES = [(name, p.name) for name, unit in SCALAR.items() for p in unit.parameters]


def chi_square(counts, p, cases):
    """Of counts among cells with these probabilities; cells where few are expected are joined."""
    rare = cases * p < 8
    expected, seen = np.append(cases * p[~rare], cases * p[rare].sum()), np.append(counts[~rare], counts[rare].sum())
    keep = expected > 0
    assert not seen[~keep].any()
    return stats.chi2.sf(((seen - expected)[keep] ** 2 / expected[keep]).sum(), max(keep.sum() - 1, 1))


# --- means, log-partition functions, energies ---


@pytest.mark.parametrize("name", SCALAR)
def test_means_and_log_partitions(name):
    kernel = Kernel(name)
    means, sums = kernel.means(FIELDS[:, None])[:, 0], kernel.log_partitions(FIELDS[:, None])
    for i, f in enumerate(FIELDS):
        log_partition, mean = exact(kernel.unit, f)
        np.testing.assert_allclose(means[i], float(mean), rtol=2e-11, atol=1e-15)
        np.testing.assert_allclose(sums[i], float(log_partition), rtol=2e-12, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in SCALAR if not isinstance(SCALAR[n].support, Naturals)])
def test_means_and_log_partitions_at_extreme_fields(name):
    kernel = Kernel(name)
    means, sums = kernel.means(EXTREME[:, None])[:, 0], kernel.log_partitions(EXTREME[:, None])
    for i, f in enumerate(EXTREME):
        log_partition, mean = exact(kernel.unit, f)
        np.testing.assert_allclose(means[i], float(mean), rtol=2e-11, atol=1e-30)
        np.testing.assert_allclose(sums[i], float(log_partition), rtol=2e-12, atol=1e-30)


def test_a_rectified_unit_far_below_0_keeps_its_digits():
    fields = -np.array([1e2, 1e3, 1e4, 1e6])
    for dtype, digits in (("float64", 1e-13), ("float32", 2e-7)):
        found = Kernel("relu", dtype).means(fields[:, None])[:, 0]
        wanted = [float(exact(EVERY["relu"], f)[1]) for f in fields]
        np.testing.assert_allclose(found, wanted, rtol=digits)


def test_rates_of_every_size():
    kernel = Kernel("poisson")
    rates = np.array([1e-300, 1e-3, 1.0, 1e6, 1e12])
    np.testing.assert_allclose(kernel.means(np.log(rates)[:, None])[:, 0], rates, rtol=1e-12)
    np.testing.assert_allclose(kernel.log_partitions(np.log(rates)[:, None]), rates, rtol=1e-12)


def test_sums_of_exponentials_do_not_overflow():
    """Counting units with closed forms in exp(exp(f)): the same at rates where that has no value."""
    t = OWN["t"]
    for rate in (1e-9, 50.0, 1e4, 1e9):
        field, z = np.full((1, 1), math.log(rate)), rate * math.exp(-t)
        paired, inflated = z * (2 + z) / (1 + z), rate / (1 + math.expm1(-t) * math.exp(-rate))
        for name, mean, log_partition in (
            ("paired", paired, z + math.log1p(z)),
            ("inflated", inflated, rate + math.log1p(math.expm1(-t) * math.exp(-rate))),
        ):
            for dtype, digits in (("float64", 1e-9), ("float32", 3e-6)):
                kernel = Kernel(name, dtype)
                np.testing.assert_allclose(kernel.means(field), [[mean]], rtol=digits)
                np.testing.assert_allclose(kernel.log_partitions(field), [log_partition], rtol=digits, atol=1e-15)


@pytest.mark.parametrize("name", SCALAR)
def test_float32_agrees_with_float64(name):
    fields = np.linspace(-6, 6, 60).reshape(10, 6)
    own = np.linspace(-1, 1, 6)[None]
    low, high = Kernel(name, "float32"), Kernel(name)
    rounded = np.float32(fields), np.float32(own)
    means = high.means(*rounded)
    np.testing.assert_allclose(low.means(*rounded), means, rtol=3e-6, atol=3e-7)
    np.testing.assert_allclose(low.log_partitions(*rounded), high.log_partitions(*rounded), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", EVERY)
def test_own_fields_by_case_and_one_for_all(name):
    """Own and coupling fields add up with their scale, and a single row of own fields serves all cases."""
    kernel = Kernel(name)
    rng = np.random.default_rng(0)
    field, own = rng.normal(size=(4, 6)), rng.normal(size=(1, 6))
    more = {"states": 3, "trials": np.array([0.0, 2.0, 5.0, 9.0])} if kernel.unit.states_axis else {}
    total = own + 0.5 * field
    for calculate in (kernel.means, kernel.log_partitions, kernel.draw):
        wanted = calculate(total, **more)
        np.testing.assert_allclose(calculate(field, own, scale=0.5, **more), wanted, atol=1e-12)
        np.testing.assert_allclose(calculate(field, np.repeat(own, 4, 0), scale=0.5, **more), wanted, atol=1e-12)
    by_case = kernel.means(np.zeros((4, 6)), total, **more)
    np.testing.assert_allclose(by_case, kernel.means(total, **more), atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("step", [1e-6, 0.02, 3.0])
def test_changes_of_the_log_partition_function(name, step):
    kernel = Kernel(name)
    rng = np.random.default_rng(1)
    field, own0, own1 = rng.normal(size=(3, 4)), rng.normal(size=(1, 4)), rng.normal(size=(1, 4))
    own1 = own0 + step * own1
    more = {"states": 2, "trials": np.array([3.0, 0.0, 8.0])} if kernel.unit.states_axis else {}
    found = kernel.changes(field, own0, 0.3, own1, 0.3 + step, **more)
    before, after = (
        kernel.log_partitions(field, own0, 0.3, **more),
        kernel.log_partitions(field, own1, 0.3 + step, **more),
    )
    np.testing.assert_allclose(found, after - before, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in SCALAR if SCALAR[n].base != "0"])
def test_energies_are_base_and_constant(name):
    unit = EVERY[name]
    kernel = Kernel(name)
    states = [float(v) for v in unit.support.values] if isinstance(unit.support, Finite) else [0.0, 1.0, 3.0, 5.0]
    statistic, base, constant = formula(unit.statistic), formula(unit.base), formula(unit.constant)
    s = np.array([[statistic(x=x)] for x in states])
    np.testing.assert_allclose(kernel.energies(s), [base(x=x) + constant() for x in states], rtol=1e-12, atol=1e-15)


def test_energies_of_large_counts_and_of_what_is_not_whole():
    x = np.array([[0.0], [2.5], [1023.0], [1024.0], [1e6]])
    np.testing.assert_allclose(Kernel("poisson").energies(x), [math.lgamma(v + 1) for v in x[:, 0]], rtol=1e-13)


# --- samplers ---


def discrete(kernel, f, cases, **given):
    """Counts of the states among draws at one field, and their probabilities."""
    draws = kernel.draw(np.full((cases // 8, 8), f), key=123, **given).ravel()
    unit = kernel.unit
    match plan_unit(unit).sampler:
        case Countable(bounded):
            last = given["trials"] if bounded else draws.max() + 1
            states = np.arange(last + 1.0)
        case _:
            states = np.array([float(v) for v in unit.support.values])
    statistic, base = formula(unit.statistic), formula(unit.base)
    s = np.array([statistic(x=x, **given) for x in states])
    whole = float(exact(unit, f, **given)[0])
    p = np.array([np.exp(f * s_x - base(x=x, **given) - whole) for x, s_x in zip(states, s, strict=True)])
    cells = np.abs(draws[:, None] - s[None]).argmin(1) if len(s) < 100 else draws.astype(int)
    np.testing.assert_allclose(draws, s[cells], rtol=1e-6)
    return np.bincount(cells, minlength=len(s)), p, len(draws)


@pytest.mark.parametrize("name", ["binary", "spin", "trit", "tilted", "cubed", "falling", "pair"])
@pytest.mark.parametrize("f", [-2.0, 0.3, 1.5])
def test_draws_of_finite_units(name, f):
    kernel = Kernel(name, "float32", jit=True)
    assert isinstance(kernel.plan.sampler, TwoPoint if name in ("binary", "spin") else Table)
    assert chi_square(*discrete(kernel, f, 80_000)) > SMALLEST_P


@pytest.mark.parametrize("trials", [1.0, 7.0, 255.0])
@pytest.mark.parametrize("f", [-3.0, 0.2])
def test_draws_of_binomial_units(trials, f):
    assert chi_square(*discrete(Kernel("binomial", "float32", jit=True), f, 40_000, trials=trials)) > SMALLEST_P


@pytest.mark.parametrize("name", ["poisson", "shifted", "paired", "inflated"])
@pytest.mark.parametrize("rate", [1e-3, 0.7, 30.0])
def test_draws_of_counting_units(name, rate):
    """Outward from the mean, whatever the parameters."""
    assert chi_square(*discrete(Kernel(name, "float32", jit=True), math.log(rate), 40_000)) > SMALLEST_P


def test_draws_of_large_counts():
    """In cells of equal probability."""
    for rate, cases in ((1e4, 10_000), (1e6, 2_000)):
        draws = Kernel("poisson", "float32", jit=True).draw(np.full((cases, 1), math.log(rate)), key=5).ravel()
        rate = math.exp(np.float32(math.log(rate)))
        edges = stats.poisson.ppf(np.linspace(0, 1, 21)[1:-1], rate)
        p = np.diff(np.concatenate([[0], stats.poisson.cdf(edges, rate), [1]]))
        assert chi_square(np.bincount(np.searchsorted(edges, draws), minlength=20), p, cases) > SMALLEST_P


def test_draws_of_counts_beyond_what_is_enumerated():
    draws = Kernel("poisson").draw(np.full((2_000, 1), math.log(1e13))).ravel()
    np.testing.assert_array_equal(draws, np.floor(draws))
    assert stats.kstest((draws - 1e13) / math.sqrt(1e13), "norm").pvalue > SMALLEST_P


@pytest.mark.parametrize("name", ["poisson", "binomial", "relu", "drelu", "tilted", "gaussian", "binary"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_at_extreme_fields_end(name, dtype):
    fields = np.array([[-500.0, -90.0, 90.0, 500.0]])
    s = Kernel(name, dtype, jit=dtype == "float32").draw(fields)
    means = Kernel(name, dtype).means(fields)
    assert np.isfinite(s).all()
    expected = {"poisson": [0, 0], "binomial": [0, 0], "binary": [0, 0], "tilted": [-1, -1]}.get(name)
    if expected is not None:
        np.testing.assert_array_equal(s[0, :2], expected)
    if name != "relu":
        np.testing.assert_allclose(s[0], means[0], atol=8)
    assert name != "relu" or (0 < s[0, 0] < 20 / 500 and s[0, 3] > 490)


@pytest.mark.parametrize("name", ["poisson", "shifted", "relu", "plateau"])
def test_draws_of_what_is_not_a_number_end(name):
    for jit in (False, True):
        assert np.isnan(Kernel(name, "float32", jit=jit).draw(np.array([[np.nan]]))).all()


def cdf_of(unit, f):
    """The distribution function of a real unit's statistic, by adaptive quadrature of its density."""
    base = formula(unit.base)
    whole, mean = (float(v) for v in exact(unit, f))
    lower = -np.inf if unit.support.lower is None else float(unit.support.lower)
    grid = np.linspace(max(lower, mean - 12), mean + 12, 6001)
    p = np.exp([f * s - base(x=s) - whole for s in grid])
    table = integrate.cumulative_simpson(p, x=grid, initial=0)
    assert abs(table[-1] - 1) < 1e-3
    return lambda s: np.interp(s, grid, table / table[-1])


@pytest.mark.parametrize("name", ["relu", "drelu", "plateau"])
@pytest.mark.parametrize("f", [-3.0, -0.3, 0.4, 2.5])
def test_draws_of_real_units(name, f):
    kernel = Kernel(name, "float32", jit=True)
    assert isinstance(kernel.plan.sampler, Pieces)
    draws = kernel.draw(np.full((2500, 8), f), key=77).ravel().astype(float)
    assert stats.kstest(draws, cdf_of(kernel.unit, f)).pvalue > SMALLEST_P


def test_draws_far_in_the_tail_are_nearly_exponential():
    draws = Kernel("relu", "float32", jit=True).draw(np.full((2500, 8), -30.0)).ravel().astype(float)
    survival = stats.norm.sf(30 + draws) / stats.norm.sf(30)
    assert stats.kstest(survival, "uniform").pvalue > SMALLEST_P


@pytest.mark.parametrize("name", SCALAR)
def test_the_counters_of_a_unit(name):
    """Unit j of case i draws from key + i * size + j, whatever its neighbours."""
    kernel = Kernel(name)
    field = np.random.default_rng(2).normal(size=(3, 5))
    drawn = kernel.draw(field, key=1000)
    for i, j in np.ndindex(field.shape):
        assert kernel.draw(field[i : i + 1, j : j + 1], key=1000 + 5 * i + j) == drawn[i, j]


@pytest.mark.parametrize("name", ["relu", "drelu", "plateau", "poisson", "tilted"])
def test_units_of_one_call_are_independent(name):
    draws = Kernel(name, "float32", jit=True).draw(np.full((20_000, 4), 0.4), key=3)
    correlation = np.corrcoef(np.concatenate([draws[1:], draws[:-1]], 1).T)[np.triu_indices(8, 1)]
    assert np.abs(correlation).max() < 4.9 / np.sqrt(20_000)


# --- sites: one state of K, or counts of them ---


def softmax(f):
    w = np.exp(f - f.max())
    return w / w.sum()


FIELD = np.array([0.3, -1.0, 1.2, 0.0, 2.0, -0.5])


def test_draws_of_one_hot_sites():
    kernel = Kernel("softmax", "float32", jit=True)
    draws = kernel.draw(np.tile(FIELD, (40_000, 1)), states=3)
    np.testing.assert_array_equal(draws.reshape(-1, 3).sum(1), 1)
    for site in (slice(0, 3), slice(3, 6)):
        assert chi_square(draws[:, site].sum(0), softmax(FIELD[site]), 40_000) > SMALLEST_P


@pytest.mark.parametrize("held", [None, 1])
def test_draws_of_documents(held):
    """Every vector of counts, by its multinomial probability; a held count is part of the document."""
    kernel = Kernel("replicated_softmax", "float32", jit=True)
    f, words, cases = FIELD[:4], 4, 40_000
    start = np.full((cases, 4), np.nan)
    more, known = {}, 0
    if held is not None:
        known = 2
        start[:, held] = known
        more = {"held": np.tile(np.arange(4) == held, (cases, 1)), "start": start}
    draws = kernel.draw(np.tile(f, (cases, 1)), trials=words, **more)
    np.testing.assert_array_equal(draws.sum(1), words)
    free = [k for k in range(4) if k != held]
    p = softmax(f[free])
    left = words - known
    documents = [n for n in itertools.product(range(left + 1), repeat=len(free)) if sum(n) == left]
    probability = np.array([stats.multinomial.pmf(n, left, p) for n in documents])
    number = {n: i for i, n in enumerate(documents)}
    counts = np.bincount([number[tuple(row)] for row in draws[:, free].astype(int).tolist()], minlength=len(documents))
    assert chi_square(counts, probability, cases) > SMALLEST_P
    if held is not None:
        assert (draws[:, held] == known).all()


def test_documents_of_every_length():
    kernel = Kernel("replicated_softmax", "float32", jit=True)
    lengths = np.array([0.0, 1.0, 5.0, 100_000.0])
    field = np.tile(np.linspace(-500, 500, 2000), (4, 1))
    np.testing.assert_array_equal(kernel.draw(field, trials=lengths).sum(1), lengths)
    np.testing.assert_allclose(kernel.means(field, trials=lengths).sum(1), lengths, rtol=1e-5)
    words = kernel.draw(np.zeros((4, 2000)), trials=lengths)
    assert chi_square(words[3], np.full(2000, 1 / 2000), 100_000) > SMALLEST_P


def test_means_and_log_partitions_of_sites():
    lengths = np.array([0.0, 3.0])
    field = np.stack([FIELD, 200 * FIELD])
    for name, draws, more in (("softmax", np.ones(2), {}), ("replicated_softmax", lengths, {"trials": lengths})):
        kernel = Kernel(name)
        p = np.array([[softmax(row[:3]), softmax(row[3:])] for row in field])
        np.testing.assert_allclose(kernel.means(field, states=3, **more), (draws[:, None, None] * p).reshape(2, 6))
        logs = [
            draws[i] * sum(float(mp.log(mp.fsum(mp.exp(f) for f in part))) for part in (row[:3], row[3:]))
            for i, row in enumerate(field)
        ]
        np.testing.assert_allclose(kernel.log_partitions(field, states=3, **more), logs, rtol=1e-12)


def test_means_of_documents_with_held_counts():
    """What the held counts leave of the length is spread over the other words; none where they exceed it."""
    kernel = Kernel("replicated_softmax")
    field = np.tile([500.0, 0.1, 0.2, 0.4], (4, 1))
    held = np.array([[True, False, False, False]] * 3 + [[True] * 4])
    start = np.array([[3.0, 9, 9, 9], [5, 9, 9, 9], [8, 9, 9, 9], [1, 2, 3, 4]])
    p = softmax(field[0, 1:])
    wanted = np.array([[3, *(2 * p)], [5, 0, 0, 0], [8, 0, 0, 0], [1, 2, 3, 4]])
    np.testing.assert_allclose(kernel.means(field, trials=5, held=held, start=start), wanted, rtol=1e-12)
    draws = kernel.draw(field, trials=5, held=held, start=start)
    np.testing.assert_array_equal(draws[1:], wanted[1:])
    assert draws[0, 0] == 3
    assert draws[0].sum() == 5


# --- own parameters ---


def expectation(unit, function, f, coupling):
    """The mean of a function of the state under exp(coupling s - energy), by sums or quadrature."""
    weight = density(unit, coupling)
    if isinstance(unit.support, Finite):
        states = [float(v) for v in unit.support.values]
        return sum(weight(x) * function(x) for x in states) / sum(map(weight, states))
    if isinstance(unit.support, Naturals):
        return sum(weight(x) * function(x) for x in range(100)) / sum(map(weight, range(100)))
    inner = sorted({float(b) for p in unit.pieces for b in (p.lower, p.upper) if b is not None})
    ends = [*([] if unit.support.lower is not None else [-25.0]), *inner, 25.0]
    total, first = (
        sum(integrate.quad(g, a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for a, b in itertools.pairwise(ends))
        for g in (weight, lambda x: weight(x) * function(x))
    )
    return first / total


@pytest.mark.parametrize(("name", "parameter"), SLOPES)
def test_slopes_by_own_parameters(name, parameter):
    """-d(energy - coupling * statistic)/dT with the state held, by differences of the declared energy."""
    unit, kernel, h = EVERY[name], Kernel(name), 1e-5
    energy, statistic = formula(unit.energy), formula(unit.statistic)
    states = [float(v) for v in unit.support.values] if isinstance(unit.support, Finite) else [-1.3, 0.1, 2.0]
    states = [0.0, 1.0, 4.0] if isinstance(unit.support, Naturals) else states

    def total(x, coupling, value):
        return coupling * statistic(x=x, **{parameter: value}) - energy(x=x, **{parameter: value})

    for coupling in (-0.7, 1.2):
        s = np.array([[statistic(x=x) for x in states]])
        found = kernel.slopes(parameter, s, np.full_like(s, coupling))[0]
        now = OWN[parameter]
        wanted = [(total(x, coupling, now + h) - total(x, coupling, now - h)) / (2 * h) for x in states]
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)


def test_the_slope_by_a_standard_deviation():
    kernel, sigma, b = Kernel("gaussian"), 1.7, 0.7
    x, c = np.array([[-2.0, 0.3, 5.0]]), np.array([[0.4, -1.0, 2.0]])
    wanted = (x - b) ** 2 / sigma**3 - x / sigma**2 * c
    np.testing.assert_allclose(kernel.slopes("sigma", x / sigma, c), wanted, rtol=1e-13)


@pytest.mark.parametrize(("name", "parameter"), SLOPES)
def test_expected_slopes_are_averages_of_slopes(name, parameter):
    unit, kernel = EVERY[name], Kernel(name)
    statistic, own_field = formula(unit.statistic), formula(unit.own_field)

    def slope(x, coupling):
        return kernel.slopes(parameter, np.array([[statistic(x=x)]]), np.array([[coupling]]))[0, 0]

    for coupling in (-1.5, 0.8):
        f = own_field() + coupling
        found = kernel.expected_slopes(parameter, np.array([[coupling]]), np.array([[own_field()]]))[0, 0]
        wanted = expectation(unit, lambda x, c=coupling: slope(x, c), f, coupling)
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("parameter", ["gp", "tm"])
def test_expected_slopes_at_extreme_fields(parameter):
    found = Kernel("drelu").expected_slopes(parameter, EXTREME[:, None])[:, 0]
    with mp.workdps(60):
        for i, f in enumerate(EXTREME):
            h = mp.mpf(10) ** -15
            up, down = (exact(DECLARED["drelu"], f, **{parameter: OWN[parameter] + x})[0] for x in (h, -h))
            np.testing.assert_allclose(found[i], float((up - down) / (2 * h)), rtol=1e-9, atol=1e-12)


# --- fields of means, statistics and states ---


@pytest.mark.parametrize("name", SOLVED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fields_of_means(name, dtype):
    kernel = Kernel(name, dtype)
    fields = np.array([-4.0, -1.0, 0.0, 0.7, 3.0])
    means = kernel.means(fields[None])[0]
    found = kernel.fields_of_means(means)
    digits = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(kernel.means(found[None])[0], means, rtol=digits, atol=1e-15)


def test_means_that_no_field_has():
    kernel = Kernel("relu")
    np.testing.assert_array_equal(kernel.fields_of_means(np.array([0.0, -1.0, np.nan])), [-np.inf, -np.inf, np.nan])
    np.testing.assert_allclose(kernel.fields_of_means(np.array([1e-6, 1e6])), [-1e6, 1e6], rtol=1e-9)
    np.testing.assert_array_equal(Kernel("trit").fields_of_means(np.array([-1.5, 2.0])), [-np.inf, np.inf])


@pytest.mark.parametrize("name", [n for n in SCALAR if isinstance(SCALAR[n].support, Finite)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_statistics_and_states(name, dtype):
    unit, kernel = planned(name), Kernel(name, dtype)
    x = np.array([[float(v) for v in EVERY[name].support.values]], dtype)
    names = {"np": np, **vars(kernel.module)}
    s = eval(statistic_array(unit, {}, "x"), names | {"x": x})
    np.testing.assert_allclose(eval(state_array(unit, {}, "s"), names | {"s": s}), x, rtol=1e-6)
    assert np.isnan(eval(state_array(unit, {}, "s"), names | {"s": s * np.nan})).all()


def test_curvatures():
    shown = {n: planned(n).curvature for n in ("gaussian", "relu", "drelu", "plateau", "binary", "poisson")}
    text = {n: None if c is None else format_expression(c) for n, c in shown.items()}
    assert text == {
        "gaussian": "1",
        "relu": "1",
        "drelu": "gm if gm < gp else gp",
        "plateau": "3",
        "binary": None,
        "poisson": None,
    }
    assert isinstance(planned("gaussian").sampler, Normal)


# --- what kernels cannot do ---


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (declared("even", Finite((Fraction(-1), Fraction(0), Fraction(1))), "x", "x^2"), "one value at two"),
        (declared("roots", Naturals(), "log(factorial(x))", "sqrt(x)"), "no sampler is known"),
        (declared("open", Real(), "x^4"), "no sampler is known"),
        (declared("halves", Real(), "x^2", "x/2", pieces=(Piece(None, None, "2", "0", "0"),)), "no sampler is known"),
    ],
)
def test_units_without_kernels(unit, words):
    with pytest.raises(Error, match=words):
        plan_unit(unit)
