"""The kernels of units whose statistic has an entry for each of `states` states: loops over sites, runs of entries.

A site is one of its states (one-hot layers), or counts how often each occurs among its draws (count layers, whose loops
take the number of draws, `trials`, and which counts are `held`).
"""

from __future__ import annotations

from string import Template

from pgmdsl.compiler.plan import identifier

_ONE_HOT = Template('''
@njit(**KERNEL)
def ${unit}_weights(fields, own, scale, first, states, out):
    """out[k] = exp(f[k] - peak) for the entries of one site; the peak, the largest f[k], and their sum."""
    for k in range(first, first + states):
        out[k] = own[k] + scale * fields[k]
    peak, total = out[first], 0.0
    for k in range(first + 1, first + states):
        peak = max(peak, out[k])
    for k in range(first, first + states):
        out[k] = exp(out[k] - peak)
    for k in range(first, first + states):
        total += np.float64(out[k])
    return peak, total


@njit(**KERNEL)
def ${unit}_draw(field, own, scale, states, key, out):
    """s one-hot with p(k) = exp(f[k]) / sum exp(f): the first k at which the cumulative sum passes u times the whole.

    Site n of case i uses counter key + i * sites + n.
    """
    scale, sites = Real(scale), out.shape[1] // states
    for i in range(out.shape[0]):
        levels, drawn = own[min(i, own.shape[0] - 1)], out[i]
        for site in range(sites):
            first = site * states
            _, total = ${unit}_weights(field[i], levels, scale, first, states, drawn)
            u = uniform(np.uint64(key + np.uint64(i) * np.uint64(sites) + np.uint64(site)))
            level, cumulative, chosen = np.float64(u) * total, 0.0, 0
            for k in range(states):
                cumulative += np.float64(drawn[first + k])
                drawn[first + k] = Real(0.0)
                if cumulative <= level:
                    chosen = k + 1
            drawn[first + min(chosen, states - 1)] = Real(1.0)


@njit(**KERNEL)
def ${unit}_means(field, own, scale, states, out):
    """out = E[s] = softmax(f) over the states of each site, f = own + scale * field."""
    scale = Real(scale)
    for i in range(out.shape[0]):
        levels, means = own[min(i, own.shape[0] - 1)], out[i]
        for first in range(0, out.shape[1], states):
            _, total = ${unit}_weights(field[i], levels, scale, first, states, means)
            share = Real(1.0 / total)
            for k in range(first, first + states):
                means[k] *= share


@njit(**KERNEL)
def ${unit}_add_log_partitions(field, own, scale, states, out):
    """out += sum over sites of log sum exp(f), f = own + scale * field."""
    scale, scratch = Real(scale), np.empty_like(own[0])
    for i in range(field.shape[0]):
        levels = own[min(i, own.shape[0] - 1)]
        for first in range(0, field.shape[1], states):
            peak, total = ${unit}_weights(field[i], levels, scale, first, states, scratch)
            out[i] += np.float64(peak) + math.log(total)
''')

_COUNTS = Template('''
@njit(**KERNEL)
def ${unit}_weights(fields, own, scale, first, states, held, out):
    """out[k] = exp(f[k] - peak) for the entries of one site, 0 for what is held; the peak and their sum."""
    for k in range(first, first + states):
        out[k] = Real(-np.inf) if held[k] else own[k] + scale * fields[k]
    peak, total = out[first], 0.0
    for k in range(first + 1, first + states):
        peak = max(peak, out[k])
    for k in range(first, first + states):
        out[k] = Real(0.0) if held[k] else exp(out[k] - peak)
    for k in range(first, first + states):
        total += np.float64(out[k])
    return peak, total


@njit(**KERNEL)
def ${unit}_left(trials, held, first, states, out):
    """How many of a document's draws are left to the counts that are not held; these become 0."""
    left = trials
    for k in range(first, first + states):
        if held[k]:
            left -= np.float64(out[k])
        else:
            out[k] = Real(0.0)
    return max(left, 0.0)


@njit(**KERNEL)
def ${unit}_draw(field, own, scale, states, key, trials, held, out):
    """s = counts of `trials` draws with p(k) = exp(f[k]) / sum exp(f), where not held; those held are among the draws.

    Draw t of site n of case i uses counter key + i * sites + n + t STRIDE, and finds by halving the first k at which
    the cumulative sum passes u times the whole.
    """
    scale, sites = Real(scale), out.shape[1] // states
    scratch, cumulative, free = np.empty_like(own[0]), np.empty(states), np.zeros(out.shape[1], np.bool_)
    for i in range(out.shape[0]):
        levels, drawn = own[min(i, own.shape[0] - 1)], out[i]
        known = held[i] if held.shape[0] > 0 else free
        for site in range(sites):
            first = site * states
            _, total = ${unit}_weights(field[i], levels, scale, first, states, known, scratch)
            left = ${unit}_left(trials[min(i, trials.shape[0] - 1)], known, first, states, drawn)
            passed, last = 0.0, 0
            for k in range(states):
                passed += np.float64(scratch[first + k])
                cumulative[k] = passed
                last = last if known[first + k] else k
            counter = np.uint64(key + np.uint64(i) * np.uint64(sites) + np.uint64(site))
            for t in range(int(left + 0.5) if total > 0.0 else 0):
                level, low, high = further(counter, t) * passed, 0, last
                while low < high:
                    middle = (low + high) // 2
                    if cumulative[middle] <= level:
                        low = middle + 1
                    else:
                        high = middle
                drawn[first + low] += Real(1.0)


@njit(**KERNEL)
def ${unit}_means(field, own, scale, states, trials, held, out):
    """out = E[s] = softmax(f) times the draws that are left where not held, f = own + scale * field."""
    scale, scratch, free = Real(scale), np.empty_like(own[0]), np.zeros(out.shape[1], np.bool_)
    for i in range(out.shape[0]):
        levels, means = own[min(i, own.shape[0] - 1)], out[i]
        known = held[i] if held.shape[0] > 0 else free
        for first in range(0, out.shape[1], states):
            _, total = ${unit}_weights(field[i], levels, scale, first, states, known, scratch)
            left = ${unit}_left(trials[min(i, trials.shape[0] - 1)], known, first, states, means)
            share = Real(left / total) if total > 0.0 else Real(0.0)
            for k in range(first, first + states):
                means[k] += share * scratch[k]


@njit(**KERNEL)
def ${unit}_add_log_partitions(field, own, scale, states, trials, out):
    """out += sum over sites of trials * log sum exp(f), f = own + scale * field: of the ordered draws."""
    scale, scratch, free = Real(scale), np.empty_like(own[0]), np.zeros(field.shape[1], np.bool_)
    for i in range(field.shape[0]):
        levels, draws = own[min(i, own.shape[0] - 1)], trials[min(i, trials.shape[0] - 1)]
        for first in range(0, field.shape[1], states):
            peak, total = ${unit}_weights(field[i], levels, scale, first, states, free, scratch)
            out[i] += draws * (np.float64(peak) + math.log(total))
''')

# The change of a site's log-partition function is the same for both; a count layer's is that of each of its draws.
_CHANGES = Template('''
@njit(**KERNEL)
def ${unit}_add_changes(field, own0, scale0, own1, scale1, states, ${trials}out):
    """out += sum over sites of ${times}(A(f1) - A(f0)), A = log sum exp.

    The integral of the means along the straight line from f0 to f1, by Gauss's rule with two points (error of fifth
    order in f1 - f0). Where an entry moves by more than STEP the two values are subtracted instead.
    """
    change, middle, scratch = np.empty_like(own0[0]), np.empty_like(own0[0]), np.empty_like(own0[0])
    start, end, slope = Real(scale0), Real(scale1), Real(scale1 - scale0)
    ${free}for i in range(field.shape[0]):
        fields, levels0, levels1 = field[i], own0[min(i, own0.shape[0] - 1)], own1[min(i, own1.shape[0] - 1)]
        for k in range(field.shape[1]):
            change[k] = (levels1[k] - levels0[k]) + slope * fields[k]
            middle[k] = levels0[k] + start * fields[k] + Real(0.5) * change[k]
        for first in range(0, field.shape[1], states):
            largest, moved = Real(0.0), 0.0
            for k in range(first, first + states):
                largest = max(largest, abs(change[k]))
            if largest > Real(STEP):
                peak1, total1 = ${unit}_weights(fields, levels1, end, first, states, ${known}scratch)
                peak0, total0 = ${unit}_weights(fields, levels0, start, first, states, ${known}scratch)
                moved = np.float64(peak1 - peak0) + math.log(total1 / total0)
            else:
                for side in (Real(-GAUSS), Real(GAUSS)):
                    _, total = ${unit}_weights(change, middle, side, first, states, ${known}scratch)
                    weighted = 0.0
                    for k in range(first, first + states):
                        weighted += np.float64(change[k]) * np.float64(scratch[k])
                    moved += 0.5 * weighted / total
            out[i] += ${draws}moved
''')


def emit_categorical(unit: str) -> str:
    """The source of the kernels of a one-hot unit type: its base energy is 0, so all follows from the support."""
    changes = _CHANGES.substitute(unit=identifier(unit), trials="", times="", free="", known="", draws="")
    return _ONE_HOT.substitute(unit=identifier(unit)) + "\n" + changes


def emit_multinomial(unit: str) -> str:
    """The source of the kernels of a count unit type, whose base energy is 0 too: each draw is a one-hot site's."""
    changes = _CHANGES.substitute(
        unit=identifier(unit),
        trials="trials, ",
        times="trials * ",
        free="free = np.zeros(field.shape[1], np.bool_)\n    ",
        known="free, ",
        draws="trials[min(i, trials.shape[0] - 1)] * ",
    )
    return _COUNTS.substitute(unit=identifier(unit)) + "\n" + changes
