"""The kernels of units with one-hot states: loops over sites, each a run of `states` entries of its layer."""

from __future__ import annotations

from string import Template

from pgmdsl.compiler.plan import identifier

_SOURCE = Template('''
@njit(**SCALAR)
def ${unit}_weights(fields, own, scale, first, states, out):
    """out[k] = exp(f[k] - peak) for the entries of one site; the peak, the largest f[k], and their sum."""
    peak = own[first] + scale * fields[first]
    for k in range(first + 1, first + states):
        peak = max(peak, own[k] + scale * fields[k])
    total = Real(0.0)
    for k in range(first, first + states):
        out[k] = exp(own[k] + scale * fields[k] - peak)
        total += out[k]
    return peak, total


@njit(**SCALAR)
def ${unit}_draw(field, own, scale, states, key, out):
    """s one-hot with p(k) = exp(f[k]) / sum exp(f): the first k at which the cumulative sum passes u times the whole.

    Site n of case i uses counter key + i * sites + n.
    """
    scale, sites = Real(scale), out.shape[1] // states
    for i in range(out.shape[0]):
        drawn = out[i]
        for site in range(sites):
            first = site * states
            _, total = ${unit}_weights(field[i], own, scale, first, states, drawn)
            u = uniform(np.uint64(key + np.uint64(i) * np.uint64(sites) + np.uint64(site)))
            level, cumulative, chosen = u * total, Real(0.0), 0
            for k in range(states):
                cumulative += drawn[first + k]
                drawn[first + k] = Real(0.0)
                if cumulative <= level:
                    chosen = k + 1
            drawn[first + min(chosen, states - 1)] = Real(1.0)


@njit(**SCALAR)
def ${unit}_means(field, own, scale, states, out):
    """out = E[s] = softmax(f) over the states of each site, f = own + scale * field."""
    scale = Real(scale)
    for i in range(out.shape[0]):
        means = out[i]
        for first in range(0, out.shape[1], states):
            _, total = ${unit}_weights(field[i], own, scale, first, states, means)
            for k in range(first, first + states):
                means[k] = means[k] / total


@njit(**SCALAR)
def ${unit}_add_log_partitions(field, own, scale, states, out):
    """out += sum over sites of log sum exp(f), f = own + scale * field."""
    scale, scratch = Real(scale), np.empty_like(own)
    for i in range(field.shape[0]):
        for first in range(0, field.shape[1], states):
            peak, total = ${unit}_weights(field[i], own, scale, first, states, scratch)
            out[i] += float(peak) + float(log(total))


@njit(**SCALAR)
def ${unit}_add_changes(field, own0, scale0, own1, scale1, states, out):
    """out += sum over sites of A(f1) - A(f0), A = log sum exp.

    The integral of the means along the straight line from f0 to f1, by Gauss's rule with two points (error of fifth
    order in f1 - f0). Where an entry moves by more than STEP the two values are subtracted instead.
    """
    change, middle, scratch = np.empty_like(own0), np.empty_like(own0), np.empty_like(own0)
    start, end, slope = Real(scale0), Real(scale1), Real(scale1 - scale0)
    for i in range(field.shape[0]):
        fields = field[i]
        for k in range(field.shape[1]):
            change[k] = (own1[k] - own0[k]) + slope * fields[k]
            middle[k] = own0[k] + start * fields[k] + Real(0.5) * change[k]
        for first in range(0, field.shape[1], states):
            largest = Real(0.0)
            for k in range(first, first + states):
                largest = max(largest, abs(change[k]))
            if largest > Real(STEP):
                peak1, total1 = ${unit}_weights(fields, own1, end, first, states, scratch)
                peak0, total0 = ${unit}_weights(fields, own0, start, first, states, scratch)
                out[i] += float(peak1 - peak0) + float(log(total1) - log(total0))
                continue
            for side in (Real(-GAUSS), Real(GAUSS)):
                _, total = ${unit}_weights(change, middle, side, first, states, scratch)
                moved = 0.0
                for k in range(first, first + states):
                    moved += change[k] * scratch[k]
                out[i] += 0.5 * moved / total
''')


def emit_categorical(unit: str) -> str:
    """The source of the kernels of a one-hot unit type: its base energy is 0, so all follows from the support."""
    return _SOURCE.substitute(unit=identifier(unit))
