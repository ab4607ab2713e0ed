"""The kernels of units whose statistic has an entry for each of `states` states: loops over sites, runs of entries.

A site is one of its states (one-hot layers), or counts how often each occurs among its draws (count layers, whose loops
take the number of draws, `trials`, and which counts are `held`).
"""

from __future__ import annotations

from string import Template

from pgmdsl.compiler.plan import identifier

_ONE_HOT = Template('''
@njit(**KERNEL)
def ${unit}_weights(fields, levels, scale, out):
    """out[k] = exp(f[k] - peak) for the states of one site; the peak, the largest f[k], and their sum."""
    for k in range(out.size):
        out[k] = levels[k] + scale * fields[k]
    peak, total = out[0], Real(0.0)
    for k in range(1, out.size):
        peak = max(peak, out[k])
    for k in range(out.size):
        out[k] = exp(out[k] - peak)
    for k in range(out.size):
        total += out[k]
    return peak, total


@njit(**KERNEL)
def ${unit}_draw(field, own, scale, states, key, out):
    """s one-hot with p(k) = exp(f[k]) / sum exp(f): the first k at which the cumulative sum passes u times the whole.

    Site n of case i uses counter key + i * sites + n.
    """
    scale, sites = Real(scale), out.shape[1] // states
    for i in range(out.shape[0]):
        fields, levels, counter = field[i], own[min(i, own.shape[0] - 1)], key + np.uint64(i) * np.uint64(sites)
        for site in range(sites):
            here = slice(site * states, (site + 1) * states)
            drawn = out[i, here]
            _, total = ${unit}_weights(fields[here], levels[here], scale, drawn)
            level, cumulative, chosen = uniform(np.uint64(counter + np.uint64(site))) * total, Real(0.0), 0
            for k in range(states):
                cumulative += drawn[k]
                drawn[k] = Real(0.0)
                chosen += 1 if cumulative <= level else 0
            drawn[min(chosen, states - 1)] = Real(1.0)


@njit(**KERNEL)
def ${unit}_means(field, own, scale, states, out):
    """out = E[s] = softmax(f) over the states of each site, f = own + scale * field."""
    scale = Real(scale)
    for i in range(out.shape[0]):
        fields, levels = field[i], own[min(i, own.shape[0] - 1)]
        for first in range(0, out.shape[1], states):
            here = slice(first, first + states)
            means = out[i, here]
            _, total = ${unit}_weights(fields[here], levels[here], scale, means)
            for k in range(states):
                means[k] /= total


@njit(**KERNEL)
def ${unit}_add_log_partitions(field, own, scale, states, out):
    """out += sum over sites of log sum exp(f), f = own + scale * field."""
    scale, scratch = Real(scale), np.empty(states, own.dtype)
    for i in range(field.shape[0]):
        fields, levels = field[i], own[min(i, own.shape[0] - 1)]
        for first in range(0, field.shape[1], states):
            here = slice(first, first + states)
            peak, total = ${unit}_weights(fields[here], levels[here], scale, scratch)
            out[i] += np.float64(peak) + math.log(np.float64(total))
''')

_COUNTS = Template('''
@njit(**KERNEL)
def ${unit}_weights(fields, levels, scale, held, out):
    """out[k] = exp(f[k] - peak) for the states of one site, 0 for what is held; the peak and their sum."""
    for k in range(out.size):
        out[k] = Real(-np.inf) if held[k] else levels[k] + scale * fields[k]
    peak, total = out[0], Real(0.0)
    for k in range(1, out.size):
        peak = max(peak, out[k])
    for k in range(out.size):
        out[k] = Real(0.0) if held[k] else exp(out[k] - peak)
    for k in range(out.size):
        total += out[k]
    return peak, total


@njit(**KERNEL)
def ${unit}_left(draws, held, out):
    """How many of a document's draws are left to the counts that are not held; these become 0."""
    left = draws
    for k in range(out.size):
        left -= np.float64(out[k]) if held[k] else 0.0
        out[k] = out[k] if held[k] else Real(0.0)
    return max(left, 0.0)


@njit(**KERNEL)
def ${unit}_draw(field, own, scale, states, key, trials, held, out):
    """s = counts of `trials` draws with p(k) = exp(f[k]) / sum exp(f), where not held; those held are among the draws.

    Draw t of site n of case i uses counter key + i * sites + n + t STRIDE, and finds by halving the first k at which
    the cumulative sum passes u times the whole.
    """
    scale, sites, cumulative = Real(scale), out.shape[1] // states, np.empty(states)
    weights, free = np.empty(states, own.dtype), np.zeros(out.shape[1], np.bool_)
    for i in range(out.shape[0]):
        fields, levels, counter = field[i], own[min(i, own.shape[0] - 1)], key + np.uint64(i) * np.uint64(sites)
        known, draws = held[i] if held.shape[0] > 0 else free, trials[min(i, trials.shape[0] - 1)]
        for site in range(sites):
            here = slice(site * states, (site + 1) * states)
            drawn = out[i, here]
            ${unit}_weights(fields[here], levels[here], scale, known[here], weights)
            left = ${unit}_left(draws, known[here], drawn)
            passed, last = 0.0, 0
            for k in range(states):
                passed += np.float64(weights[k])
                cumulative[k] = passed
                last = k if weights[k] > Real(0.0) else last
            for t in range(int(left + 0.5) if passed > 0.0 else 0):
                level = further(np.uint64(counter + np.uint64(site)), t) * passed
                low, high = 0, last
                while low < high:
                    middle = (low + high) // 2
                    low, high = (middle + 1, high) if cumulative[middle] <= level else (low, middle)
                drawn[low] += Real(1.0)


@njit(**KERNEL)
def ${unit}_means(field, own, scale, states, trials, held, out):
    """out = E[s] = softmax(f) times the draws that are left where not held, f = own + scale * field."""
    scale, weights, free = Real(scale), np.empty(states, own.dtype), np.zeros(out.shape[1], np.bool_)
    for i in range(out.shape[0]):
        fields, levels = field[i], own[min(i, own.shape[0] - 1)]
        known, draws = held[i] if held.shape[0] > 0 else free, trials[min(i, trials.shape[0] - 1)]
        for first in range(0, out.shape[1], states):
            here = slice(first, first + states)
            means = out[i, here]
            _, total = ${unit}_weights(fields[here], levels[here], scale, known[here], weights)
            left = ${unit}_left(draws, known[here], means)
            share = Real(left) / total if total > Real(0.0) else Real(0.0)
            for k in range(states):
                means[k] += share * weights[k]


@njit(**KERNEL)
def ${unit}_add_log_partitions(field, own, scale, states, trials, out):
    """out += sum over sites of trials * log sum exp(f), f = own + scale * field: of the ordered draws."""
    scale, scratch, free = Real(scale), np.empty(states, own.dtype), np.zeros(states, np.bool_)
    for i in range(field.shape[0]):
        fields, levels, draws = field[i], own[min(i, own.shape[0] - 1)], trials[min(i, trials.shape[0] - 1)]
        for first in range(0, field.shape[1], states):
            here = slice(first, first + states)
            peak, total = ${unit}_weights(fields[here], levels[here], scale, free, scratch)
            out[i] += draws * (np.float64(peak) + math.log(np.float64(total)))
''')

# The change of a site's log-partition function is the same for both; a count layer's is that of each of its draws.
_CHANGES = Template('''
@njit(**KERNEL)
def ${unit}_add_changes(field, own0, scale0, own1, scale1, states, ${trials}out):
    """out += sum over sites of ${times}(A(f1) - A(f0)), A = log sum exp.

    The integral of the means along the straight line from f0 to f1, by Gauss's rule with two points (error of fifth
    order in f1 - f0). Where an entry moves by more than STEP the two values are subtracted instead.
    """
    change, middle, scratch = np.empty(states, own0.dtype), np.empty(states, own0.dtype), np.empty(states, own0.dtype)
    start, end, slope = Real(scale0), Real(scale1), Real(scale1 - scale0)
    ${free}for i in range(field.shape[0]):
        for first in range(0, field.shape[1], states):
            here = slice(first, first + states)
            fields, largest, moved = field[i, here], Real(0.0), 0.0
            levels0, levels1 = own0[min(i, own0.shape[0] - 1), here], own1[min(i, own1.shape[0] - 1), here]
            for k in range(states):
                change[k] = (levels1[k] - levels0[k]) + slope * fields[k]
                middle[k] = levels0[k] + start * fields[k] + Real(0.5) * change[k]
            for k in range(states):
                largest = max(largest, abs(change[k]))
            if largest > Real(STEP):
                peak1, total1 = ${unit}_weights(fields, levels1, end, ${known}scratch)
                peak0, total0 = ${unit}_weights(fields, levels0, start, ${known}scratch)
                moved = np.float64(peak1 - peak0) + math.log(np.float64(total1) / np.float64(total0))
            else:
                for side in (Real(-GAUSS), Real(GAUSS)):
                    _, total = ${unit}_weights(change, middle, side, ${known}scratch)
                    weighted = Real(0.0)
                    for k in range(states):
                        weighted += change[k] * scratch[k]
                    moved += 0.5 * np.float64(weighted) / np.float64(total)
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
        free="free = np.zeros(states, np.bool_)\n    ",
        known="free, ",
        draws="trials[min(i, trials.shape[0] - 1)] * ",
    )
    return _COUNTS.substitute(unit=identifier(unit)) + "\n" + changes
