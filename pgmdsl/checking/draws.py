"""Draws of emitted samplers tested against the declared energy.

Each site's draw is turned into a uniform number by the distribution function of the site given all others (Rosenblatt
1952), a draw of a discrete site by a random point of its step: for a right sampler these numbers are independent and
uniform, whatever the fields. Chi-square tests look at each site's numbers, at those of several sites together, at
those of cases that follow one another, and at those of one case with two keys. The smallest of their p-values times
their number is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from pgmdsl.checking.comparison import FALSE_ALARM, Answer, Comparison
from pgmdsl.checking.declared import Array
from pgmdsl.checking.setting import CASES, Setting
from pgmdsl.checking.sites import Site, site, sites
from pgmdsl.compiler.units import Counts
from pgmdsl.runtime.kernels import Kernels
from pgmdsl.runtime.random import stream_key

PANELS = 120  # of the quadrature where every case has a field of its own
BINS = 16  # of one site's numbers
TOGETHER = 3  # sites looked at together, 4 bins each
HELD = 2 * CASES  # cases drawn with held entries, which have to stay as they are
SCALE = 0.7  # of fields

Settings = Sequence[Setting]


class _WrongDrawError(Exception):
    """A draw that is no state at all."""


def layer_draws(settings: Settings, name: str, count: int) -> Comparison:
    """`sample_L`, from complete states, with and without held entries; a layer with lateral edges in turn.

    As many draws at the parameters of each strength: at large fields samplers of real units take other ways.
    """
    every = [t.tiled(count // len(settings)) for t in settings]
    comparisons = [_drawn(t, name) for t in every]

    def call(k: Kernels) -> Answer:
        return [array for answers, _ in comparisons for array in answers(k)]

    def judge(answer: Answer) -> float:
        values = [judged(answer[2 * i : 2 * i + 2]) for i, (_, judged) in enumerate(comparisons)]
        return min(1.0, min(values) * len(values))

    against = f"each draw of {name} given all others, by sums over each site's states ({count} draws)"
    return Comparison((f"sample_{name}",), against, call, judge, "chance", FALSE_ALARM)


def _drawn(t: Setting, name: str) -> tuple[Callable[[Kernels], Answer], Callable[[Answer], float]]:
    """Draws of a layer and its field afterwards; and the p-value of these."""
    count = len(t.x[name])
    lengths, half = t.lengths(name), count // 2
    held = np.zeros((count, t.layer(name).size), np.bool_)
    held[-HELD:] = t.held(name)[:HELD]

    def call(k: Kernels) -> Answer:
        out, field = t.s[name].copy(), t.declared.coupling(name, t.s)
        own = np.ascontiguousarray(np.broadcast_to(t.own(name), out.shape))
        for number, rows in enumerate((slice(0, half), slice(half, count - HELD), slice(count - HELD, count))):
            key = stream_key(1, "draws", name, number)
            some = held[rows] if number == 2 else None
            trials = None if lengths is None else lengths[rows]
            k.sample[name](t.p, field[rows], own[rows], SCALE, key, out[rows], trials, some)
        return [out, field]

    def judge(answer: Answer) -> float:
        out, field = answer
        if t.declared.lateral(name) and not _close(field, t.declared.coupling(name, {**t.s, name: out})):
            return 0.0
        return _p_value(t, [(name, held)], {name: out}, 2)

    return call, judge


def sweep_draws(settings: Settings, blocks: Sequence[Sequence[str]], count: int) -> Comparison:
    """`gibbs_sweep` from complete states, one visible layer clamped in the first half of the cases."""
    t = settings[0].tiled(count)
    free = [n for block in blocks for n in block]
    clamped = free[-1:] if len(free) > 1 else []
    half = count // 2

    def call(k: Kernels) -> Answer:
        out = {n: s.copy() for n, s in t.s.items()}
        fields = {n: np.zeros(s.shape) for n, s in t.s.items()}
        own = {n: t.layer(n).bias * k.own_factor[n](t.p) for n in free}
        scale = dict.fromkeys(free, SCALE)
        for number, rows in enumerate((slice(0, half), slice(half, count))):
            keys = {n: stream_key(2, "sweep", n, number) for n in free}
            some = {n: s[rows] for n, s in out.items()}
            these = {n: f[rows] for n, f in fields.items()}
            k.gibbs_sweep(t.p, some, own, scale, keys, these, frozenset(clamped if number == 0 else ()))
        return [out[n] for n in t.s]

    def judge(answer: Answer) -> float:
        out = dict(zip(t.s, answer, strict=True))
        still = np.zeros((count, 1), np.bool_)
        still[:half] = True
        moves = [(n, np.broadcast_to(still & (n in clamped), out[n].shape)) for n in free]
        if any(not np.array_equal(out[n], t.s[n]) for n in out if n not in free):
            return 0.0
        return _p_value(t, moves, out, 2)

    against = f"a draw of every layer given the others, block by block ({count} sweeps)"
    return Comparison(("gibbs_sweep",), against, call, judge, "chance", FALSE_ALARM)


def bit_draws(count: int) -> Comparison:
    """`draw_bits` at several probabilities."""
    levels = np.tile([0.05, 0.3, 0.5, 0.9], (count, 1))

    def call(k: Kernels) -> Answer:
        out = np.full(levels.shape, 7.0)
        k.draw_bits(levels.copy(), int(stream_key(3, "bits")), out)
        return [out]

    def judge(answer: Answer) -> float:
        rng = np.random.default_rng(3)
        (bits,) = answer
        if not np.isin(bits, (0.0, 1.0)).all():
            return 0.0
        below = np.where(bits == 1, 0.0, levels)
        return tested(below + rng.random(levels.shape) * np.where(bits == 1, levels, 1 - levels))

    return Comparison(
        ("draw_bits",), f"bits of stated probabilities ({count} each)", call, judge, "chance", FALSE_ALARM
    )


def _close(a: Array, b: Array) -> bool:
    return bool((np.abs(a - b) <= 1e-9 * (1 + np.abs(b))).all())


def _p_value(
    t: Setting, moves: Sequence[tuple[str, NDArray[np.bool_]]], after: Mapping[str, Array], seed: int
) -> float:
    """Of draws of these layers in turn, entries that are held (cases, size) being as they were."""
    now, columns, rng = dict(t.s), [], np.random.default_rng(seed)
    try:
        for name, held in moves:
            if not np.array_equal(np.where(held, after[name], 0.0), np.where(held, t.s[name], 0.0)):
                return 0.0
            columns += _uniforms(t, name, held, now, after[name], rng)
    except _WrongDrawError:
        return 0.0
    return tested(np.stack(columns, 1))


def _uniforms(
    t: Setting, name: str, held: NDArray[np.bool_], now: dict[str, Array], after: Array, rng: np.random.Generator
) -> list[Array]:
    """Uniform numbers (cases,) of each site, not a number where it is held; `now` becomes the state afterwards."""
    layer, out = t.layer(name), []
    bias = t.declared.bias(name, now)
    for entries in sites(layer):
        field = SCALE * t.declared.coupling(name, now, entries.tolist())[:, entries]
        u = np.full(len(after), np.nan)
        counts = isinstance(layer.unit.support, Counts)
        length = t.s[name].sum(1) if counts else np.zeros(len(after))
        known = held[:, entries] if counts else np.zeros((len(after), len(entries)), np.bool_)
        context = np.concatenate(
            [field, np.broadcast_to(bias[:, entries], field.shape), length[:, None], known * (1 + after[:, entries])], 1
        )
        free = ~held[:, entries].all(1)
        _, first, group = np.unique(context, axis=0, return_index=True, return_inverse=True)
        if counts:  # the words' possible counts differ from document to document
            for number, i in enumerate(first):
                rows = free & (group.reshape(-1) == number)
                if not rows.any():
                    continue
                words = {k: after[i, e] for k, e in enumerate(entries) if known[i, k]}
                row = min(i, len(bias) - 1)
                here = site(layer, entries, field[i : i + 1], bias[row : row + 1, entries], int(length[i]), words)
                u[rows] = _placed(here, np.zeros(rows.sum(), np.intp), after[rows][:, entries], rng)
        else:
            some = np.broadcast_to(bias[:, entries], field.shape)[first]
            here = site(layer, entries, field[first], some, panels=PANELS)
            u[free] = _placed(here, group.reshape(-1)[free], after[free][:, entries], rng)
        now[name] = now[name].copy()
        now[name][:, entries] = after[:, entries]
        out.append(u)
    return out


def _placed(found: Site, row: NDArray[np.intp], drawn: Array, rng: np.random.Generator) -> Array:
    """The distribution function at these draws, each of the site's row; at a random point of a discrete one's step."""
    p = found.probability
    if found.ends is None:
        away = np.abs(found.statistics[None] - drawn[:, None]).max(2)
        node = away.argmin(1)
        if not (away.min(1) <= 1e-9).all():
            raise _WrongDrawError
        below = np.concatenate([np.zeros((len(p), 1)), np.cumsum(p, 1)], 1)
        return np.asarray(below[row, node] + rng.random(len(row)) * p[row, node])
    ends = _line(found, found.ends)
    mass = p.reshape(len(p), len(ends) - 1, -1).sum(2)
    below = np.concatenate([np.zeros((len(p), 1)), np.cumsum(mass, 1)], 1)
    x = drawn[:, 0]
    if not ((x >= ends[0] - 1e-9) & (x <= ends[-1] + 1e-9)).all():
        raise _WrongDrawError
    panel = np.clip(np.searchsorted(ends, x, side="right") - 1, 0, len(ends) - 2)
    share = (x - ends[panel]) / (ends[panel + 1] - ends[panel])
    return np.asarray(np.clip(below[row, panel] + share * mass[row, panel], 0.0, 1.0))


def _line(found: Site, x: Array) -> Array:
    """The statistics of states of a real unit, which are a multiple of these."""
    at = int(np.abs(found.nodes[:, 0]).argmax())
    return np.asarray(x * found.statistics[at, 0] / found.nodes[at, 0])


def tested(u: Array) -> float:
    """The smallest p-value of chi-square tests that the rows of `u` (cases, sites) are uniform, times their number.

    Not-a-numbers are left out.
    """
    if not ((u >= 0) & (u <= 1) | np.isnan(u)).all():
        return 0.0
    values = [_chi_square(u[:, [j]], BINS) for j in range(u.shape[1])]
    values += [_chi_square(u[:, j : j + TOGETHER], 4) for j in range(0, u.shape[1] - 1, TOGETHER - 1)]
    half = len(u) // 2  # where another key begins
    for i, j in _neighbours(u.shape[1]):
        values.append(_chi_square(np.stack([u[:-1, i], u[1:, j]], 1), 4))
        values.append(_chi_square(np.stack([u[:half, i], u[half : 2 * half, j]], 1), 4))
    return float(min(1.0, min(values) * len(values)))


def _neighbours(columns: int) -> list[tuple[int, int]]:
    """Columns of two cases that are looked at together: the same, and those that follow one another."""
    near = list(pairwise(range(columns)))
    return [*((j, j) for j in range(columns)), *((j, i) for i, j in near), *near]


def _chi_square(u: Array, bins: int) -> float:
    """Whether the cells of a grid are equally full."""
    u = u[~np.isnan(u).any(1)]
    cells = bins ** u.shape[1]
    if len(u) < 5 * cells:
        return 1.0
    index = np.ravel_multi_index(np.minimum((u * bins).astype(int), bins - 1).T, (bins,) * u.shape[1])
    counts, even = np.bincount(index, minlength=cells), len(u) / cells
    return float(chi2.sf(((counts - even) ** 2 / even).sum(), cells - 1))
