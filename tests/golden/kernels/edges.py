@njit(**KERNEL)
def softmax_draw_in_turn(field, own, scale, states, key, entries, rows, held, out, change):
    """Draws of the sites with these entries of `out`, one after another, each given the newest of all others.

    `field` is the coupling field of `out` as it comes, `rows` the entries' rows of the couplings, (entries, size). What
    is added to `out` goes to `change` (cases, entries): the field is then field + change @ rows.

    Site n of case i uses the counter key + n 2^32 + i.
    """
    cases = out.shape[0]
    waiting = np.empty((entries.size, cases), out.dtype)
    for i in range(cases):
        for e in range(entries.size):
            waiting[e, i] = field[i, entries[e]]
    fields, step = np.empty((1, cases * states), out.dtype), np.empty((states, cases), out.dtype)
    owns, found = np.empty_like(fields), np.empty_like(fields)
    for first in range(0, entries.size, states):
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                fields[0, i * states + k] = waiting[first + k, i]
                owns[0, i * states + k] = own[min(i, own.shape[0] - 1), j]
        counter = np.uint64(key + (np.uint64(entries[first] // states) << np.uint64(32)))
        softmax_draw(fields, owns, scale, states, counter, found)
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                new = out[i, j] if held.size > 0 and held[i, j] else found[0, i * states + k]
                step[k, i] = new - out[i, j]
                change[i, first + k] = step[k, i]
                out[i, j] = new
        for e in range(first + states, entries.size):
            for k in range(states):
                coupling = rows[first + k, entries[e]]
                if coupling != Real(0.0):
                    for i in range(cases):
                        waiting[e, i] += coupling * step[k, i]


@njit(**KERNEL)
def softmax_means_in_turn(field, own, scale, states, entries, rows, held, out, change):
    """Means of the sites with these entries of `out`, one after another, each given the newest of all others.

    `field` is the coupling field of `out` as it comes, `rows` the entries' rows of the couplings, (entries, size). What
    is added to `out` goes to `change` (cases, entries): the field is then field + change @ rows.
    """
    cases = out.shape[0]
    waiting = np.empty((entries.size, cases), out.dtype)
    for i in range(cases):
        for e in range(entries.size):
            waiting[e, i] = field[i, entries[e]]
    fields, step = np.empty((1, cases * states), out.dtype), np.empty((states, cases), out.dtype)
    owns, found = np.empty_like(fields), np.empty_like(fields)
    for first in range(0, entries.size, states):
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                fields[0, i * states + k] = waiting[first + k, i]
                owns[0, i * states + k] = own[min(i, own.shape[0] - 1), j]
        softmax_means(fields, owns, scale, states, found)
        for k in range(states):
            j = entries[first + k]
            for i in range(cases):
                new = out[i, j] if held.size > 0 and held[i, j] else found[0, i * states + k]
                step[k, i] = new - out[i, j]
                change[i, first + k] = step[k, i]
                out[i, j] = new
        for e in range(first + states, entries.size):
            for k in range(states):
                coupling = rows[first + k, entries[e]]
                if coupling != Real(0.0):
                    for i in range(cases):
                        waiting[e, i] += coupling * step[k, i]


# --- Layer v: 4 binary -------------------------------------------------------------------------------------------
# p(v[i] = 1 | y, u, h, k, z, rest) == sigmoid(b[i] + sum(L[i,s]*v[s] for s) + sum(M[i,s]*v[s] for s) +
#   sum(Q[n,p,r,i]*u[n]*h[p]*z[r] for n, p, r) + sum(W[i,p]*h[p] for p) + sum(T[i,p,j,l]*h[p]*y[j,l] for p, j, l) +
#   sum(T[i,q,j,l]*k[q]*y[j,l] for q, j, l))

def field_v(p, s, out):
    """Coupling field of v: s(v) L + s(v) M + Q(s(u), s(h), s(z), .) + s(h) W' + T(., s(h), s(y)) + T(., s(k), s(y)); absent layers send nothing."""
    beta = 0.0
    if "v" in s:
        multiply_states("field", s["v"], p["L"], out, 1.0, beta, (0.0, 1.0))
        beta = 1.0
    if "v" in s:
        multiply_states("field", s["v"], p["M"], out, 1.0, beta, (0.0, 1.0))
        beta = 1.0
    if "u" in s and "h" in s and "z" in s:
        multiply_others((s["u"], s["h"], s["z"]), p["Q"], 3, out, 1.0, beta)
        beta = 1.0
    if "h" in s:
        multiply_states("field_transposed", s["h"], p["W"], out, 1.0, beta, (-1.0, 1.0))
        beta = 1.0
    if "h" in s and "y" in s:
        multiply_others((s["h"], s["y"]), p["T"], 0, out, 1.0, beta)
        beta = 1.0
    if "k" in s and "y" in s:
        multiply_others((s["k"], s["y"]), p["T"], 0, out, 1.0, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_v(p):
    """What the bias of v is multiplied by in its field: 1."""
    return np.full(4, 1.0, Real)


def mean_v(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of v at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    binary_means(field, rows(own), float(scale), out)
    put_back(out, earlier, held)


def couplings_v(p):
    """What multiplies the statistics of v in the field of v itself: L + M."""
    return p["L"] + p["M"]


def sample_v(p, field, own, scale, key, out, trials=None, held=None):
    """Units of v drawn in turn from the state in `out`, at the field own + scale * field, which follows."""
    sites = Sites(couplings_v(p), 1, p.get("colours v"), held)
    with np.errstate(over="ignore"):
        visit(binary_draw_in_turn, field, own, (float(scale), np.uint64(key)), sites, out)


def relax_v(p, field, own, scale, out, trials=None, held=None):
    """Units of v set in turn to their means given the others' in `out`; own + scale * field follows."""
    sites = Sites(couplings_v(p), 1, p.get("colours v"), held)
    visit(binary_means_in_turn, field, own, (float(scale),), sites, out)


def log_partition_v(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    binary_add_log_partitions(field, rows(own), float(scale), out)


def log_partition_change_v(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    binary_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), out)


def base_energy_v(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_v(p, m):
    """The field at which a unit of v has mean statistic m."""
    return np.log(m) - np.log(1.0 - m)


def statistic_v(p, x):
    """States of v to statistics."""
    return x


def state_v(p, s):
    """Statistics of v to states."""
    return s


# --- Layer y: 6 softmax ------------------------------------------------------------------------------------------
# p(y[j] = l | v, h, k, rest) == softmax(c[j,g] + sum(T[i,p,j,g]*v[i]*h[p] for i, p) + sum(T[i,q,j,g]*v[i]*k[q] for
#   i, q) + sum(N[j,g,t,d]*y[t,d] for t, d) for g at l)

def field_y(p, s, out):
    """Coupling field of y: T(s(v), s(h), .) + T(s(v), s(k), .) + s(y) N; absent layers send nothing."""
    beta = 0.0
    if "v" in s and "h" in s:
        multiply_others((s["v"], s["h"]), p["T"], 2, out, 1.0, beta)
        beta = 1.0
    if "v" in s and "k" in s:
        multiply_others((s["v"], s["k"]), p["T"], 2, out, 1.0, beta)
        beta = 1.0
    if "y" in s:
        multiply_states("field", s["y"], p["N"], out, 1.0, beta, (0.0, 1.0))
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_y(p):
    """What the bias of y is multiplied by in its field: 1."""
    return np.full(6, 1.0, Real)


def mean_y(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of y at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    softmax_means(field, rows(own), float(scale), 3, out)
    put_back(out, earlier, held)


def couplings_y(p):
    """What multiplies the statistics of y in the field of y itself: N."""
    return p["N"]


def sample_y(p, field, own, scale, key, out, trials=None, held=None):
    """Units of y drawn in turn from the state in `out`, at the field own + scale * field, which follows."""
    sites = Sites(couplings_y(p), 3, p.get("colours y"), held)
    with np.errstate(over="ignore"):
        visit(softmax_draw_in_turn, field, own, (float(scale), 3, np.uint64(key)), sites, out)


def relax_y(p, field, own, scale, out, trials=None, held=None):
    """Units of y set in turn to their means given the others' in `out`; own + scale * field follows."""
    sites = Sites(couplings_y(p), 3, p.get("colours y"), held)
    visit(softmax_means_in_turn, field, own, (float(scale), 3), sites, out)


def log_partition_y(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    softmax_add_log_partitions(field, rows(own), float(scale), 3, out)


def log_partition_change_y(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    softmax_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), 3, out)


def base_energy_y(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_y(p, m):
    """The field at which a unit of y has mean statistic m."""
    return np.log(m)


def statistic_y(p, x):
    """States of y to statistics."""
    return x


def state_y(p, s):
    """Statistics of y to states."""
    return s


# --- Layer w: 4 replicated_softmax -------------------------------------------------------------------------------
# p(word(w) = m | h, z) == softmax(e[g] + sum(U[g,p]*h[p] for p) + sum(V[g,r]*z[r] for r) for g at m)

def field_w(p, s, out):
    """Coupling field of w: s(h) U' + s(z) V'; absent layers send nothing."""
    beta = 0.0
    if "h" in s:
        multiply_states("field_transposed", s["h"], p["U"], out, 1.0, beta, (-1.0, 1.0))
        beta = 1.0
    if "z" in s:
        multiply_states("field_transposed", s["z"], p["V"], out, 1.0, beta, (0.0, 1.0))
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_w(p):
    """What the bias of w is multiplied by in its field: 1."""
    return np.full(4, 1.0, Real)


def sample_w(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of w drawn at the field own + scale * field, from the uint64 counter base `key`."""
    with np.errstate(over="ignore"):
        replicated_softmax_draw(field, rows(own), float(scale), 4, np.uint64(key), trials, mask(held), out)


def mean_w(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of w at the field own + scale * field, each unit given all others."""
    replicated_softmax_means(field, rows(own), float(scale), 4, trials, mask(held), out)


relax_w = mean_w


def log_partition_w(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    replicated_softmax_add_log_partitions(field, rows(own), float(scale), 4, trials, out)


def log_partition_change_w(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    replicated_softmax_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), 4, trials, out)


def base_energy_w(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_w(p, m):
    """The field at which a unit of w has mean statistic m."""
    return np.log(m)


def statistic_w(p, x):
    """States of w to statistics."""
    return x


def state_w(p, s):
    """Statistics of w to states."""
    return s


# --- Layer u: 2 gaussian -----------------------------------------------------------------------------------------

def field_u(p, s, out):
    """Coupling field of u: 0; absent layers send nothing."""
    beta = 0.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_u(p):
    """What the bias of u is multiplied by in its field: 1/sigma."""
    return 1.0 / np.ones(2, Real)


def sample_u(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of u drawn at the field own + scale * field, from the uint64 counter base `key`."""
    earlier = before(out, held)
    with np.errstate(over="ignore"):
        gaussian_draw(field, rows(own), float(scale), np.uint64(key), out)
    put_back(out, earlier, held)


def mean_u(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of u at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    gaussian_means(field, rows(own), float(scale), out)
    put_back(out, earlier, held)


relax_u = mean_u


def log_partition_u(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    gaussian_add_log_partitions(field, rows(own), float(scale), np.ones(2, Real), out)


def log_partition_change_u(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    gaussian_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), np.ones(2, Real), out)


def base_energy_u(p, s, out):
    """out += sum over units of x²/(2 sigma²) + b²/(2 sigma²), the energy besides the field's."""
    gaussian_add_energies(s, np.ones(2, Real), np.zeros(2, Real), out)


def field_of_mean_u(p, m):
    """The field at which a unit of u has mean statistic m."""
    return m


def statistic_u(p, x):
    """States of u to statistics."""
    return x / np.ones(2, Real)


def state_u(p, s):
    """Statistics of u to states."""
    return s * np.ones(2, Real)


def curvature_u(p):
    """The least curvature of a unit's base as a function of s where |s| is large: 1."""
    return np.full(2, 1.0, Real)


# --- Layer h: 3 spin ---------------------------------------------------------------------------------------------
# p(h[p] = 1 | v, y, w, u, z) == sigmoid(2*(length(w)*a[p] + sum(W[i,p]*v[i] for i) + sum(T[i,p,j,l]*v[i]*y[j,l] for
#   i, j, l) + sum(U[m,p]*w[m] for m) + sum(Q[n,p,r,i]*u[n]*z[r]*v[i] for n, r, i)))

def field_h(p, s, out):
    """Coupling field of h: s(v) W + T(s(v), ., s(y)) + s(w) U + Q(s(u), ., s(z), s(v)); absent layers send nothing."""
    beta = 0.0
    if "v" in s:
        multiply_states("field", s["v"], p["W"], out, 1.0, beta, (0.0, 1.0))
        beta = 1.0
    if "v" in s and "y" in s:
        multiply_others((s["v"], s["y"]), p["T"], 1, out, 1.0, beta)
        beta = 1.0
    if "w" in s:
        multiply(s["w"], p["U"], out, 1.0, beta)
        beta = 1.0
    if "u" in s and "z" in s and "v" in s:
        multiply_others((s["u"], s["z"], s["v"]), p["Q"], 1, out, 1.0, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_h(p):
    """What the bias of h is multiplied by in its field: 1."""
    return np.full(3, 1.0, Real)


def sample_h(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of h drawn at the field own + scale * field, from the uint64 counter base `key`."""
    earlier = before(out, held)
    with np.errstate(over="ignore"):
        spin_draw(field, rows(own), float(scale), np.uint64(key), out)
    put_back(out, earlier, held)


def mean_h(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of h at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    spin_means(field, rows(own), float(scale), out)
    put_back(out, earlier, held)


relax_h = mean_h


def log_partition_h(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    spin_add_log_partitions(field, rows(own), float(scale), out)


def log_partition_change_h(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    spin_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), out)


def base_energy_h(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_h(p, m):
    """The field at which a unit of h has mean statistic m."""
    return (np.log(1.0 + m) - np.log(1.0 - m)) / 2.0


def statistic_h(p, x):
    """States of h to statistics."""
    return x


def state_h(p, s):
    """Statistics of h to states."""
    return s


# --- Layer k: 3 spin ---------------------------------------------------------------------------------------------
# p(k[q] = 1 | v, y) == sigmoid(2*sum(T[i,q,j,l]*v[i]*y[j,l] for i, j, l))

def field_k(p, s, out):
    """Coupling field of k: T(s(v), ., s(y)); absent layers send nothing."""
    beta = 0.0
    if "v" in s and "y" in s:
        multiply_others((s["v"], s["y"]), p["T"], 1, out, 1.0, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_k(p):
    """What the bias of k is multiplied by in its field: 1."""
    return np.full(3, 1.0, Real)


def sample_k(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of k drawn at the field own + scale * field, from the uint64 counter base `key`."""
    earlier = before(out, held)
    with np.errstate(over="ignore"):
        spin_draw(field, rows(own), float(scale), np.uint64(key), out)
    put_back(out, earlier, held)


def mean_k(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of k at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    spin_means(field, rows(own), float(scale), out)
    put_back(out, earlier, held)


relax_k = mean_k


def log_partition_k(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    spin_add_log_partitions(field, rows(own), float(scale), out)


def log_partition_change_k(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    spin_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), out)


def base_energy_k(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_k(p, m):
    """The field at which a unit of k has mean statistic m."""
    return (np.log(1.0 + m) - np.log(1.0 - m)) / 2.0


def statistic_k(p, x):
    """States of k to statistics."""
    return x


def state_k(p, s):
    """Statistics of k to states."""
    return s


# --- Layer z: 2 binary -------------------------------------------------------------------------------------------
# p(z[r] = 1 | v, w, u, h) == sigmoid(o[r] + sum(V[m,r]*w[m] for m) + sum(Q[n,p,r,i]*u[n]*h[p]*v[i] for n, p, i))

def field_z(p, s, out):
    """Coupling field of z: s(w) V + Q(s(u), s(h), ., s(v)); absent layers send nothing."""
    beta = 0.0
    if "w" in s:
        multiply(s["w"], p["V"], out, 1.0, beta)
        beta = 1.0
    if "u" in s and "h" in s and "v" in s:
        multiply_others((s["u"], s["h"], s["v"]), p["Q"], 2, out, 1.0, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def own_factor_z(p):
    """What the bias of z is multiplied by in its field: 1."""
    return np.full(2, 1.0, Real)


def sample_z(p, field, own, scale, key, out, trials=None, held=None):
    """Statistics of z drawn at the field own + scale * field, from the uint64 counter base `key`."""
    earlier = before(out, held)
    with np.errstate(over="ignore"):
        binary_draw(field, rows(own), float(scale), np.uint64(key), out)
    put_back(out, earlier, held)


def mean_z(p, field, own, scale, out, trials=None, held=None):
    """Mean statistics of z at the field own + scale * field, each unit given all others."""
    earlier = before(out, held)
    binary_means(field, rows(own), float(scale), out)
    put_back(out, earlier, held)


relax_z = mean_z


def log_partition_z(p, field, own, scale, out, trials=None):
    """out += sum over units of A(own + scale * field)."""
    binary_add_log_partitions(field, rows(own), float(scale), out)


def log_partition_change_z(p, field, own0, scale0, own1, scale1, out, trials=None):
    """out += sum over units of A(own1 + scale1 * field) - A(own0 + scale0 * field)."""
    binary_add_changes(field, rows(own0), float(scale0), rows(own1), float(scale1), out)


def base_energy_z(p, s, out):
    """out += sum over units of 0, the energy besides the field's."""


def field_of_mean_z(p, m):
    """The field at which a unit of z has mean statistic m."""
    return np.log(m) - np.log(1.0 - m)


def statistic_z(p, x):
    """States of z to statistics."""
    return x


def state_z(p, s):
    """Statistics of z to states."""
    return s


# --- Statistics of the weights -----------------------------------------------------------------------------------

def weight_statistics_L(s, scale, add, out):
    """out = scale * (off-diagonal s(v)' s(v)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "v" in s:
        multiply_lateral(s["v"], 1, (0.0, 1.0), out, scale, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_M(s, scale, add, out):
    """out = scale * (off-diagonal s(v)' s(v)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "v" in s:
        multiply_lateral(s["v"], 1, (0.0, 1.0), out, scale, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_N(s, scale, add, out):
    """out = scale * (off-diagonal s(y)' s(y)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "y" in s:
        multiply_lateral(s["y"], 3, (0.0, 1.0), out, scale, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_W(s, scale, add, out):
    """out = scale * (s(v)' s(h)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "v" in s and "h" in s:
        multiply_outer_states(s["v"], s["h"], out, scale, beta, (0.0, 1.0), (-1.0, 1.0))
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_U(s, scale, add, out):
    """out = scale * (s(w)' s(h)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "w" in s and "h" in s:
        multiply_outer_states(s["w"], s["h"], out, scale, beta, None, (-1.0, 1.0))
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_V(s, scale, add, out):
    """out = scale * (s(w)' s(z)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "w" in s and "z" in s:
        multiply_outer_states(s["w"], s["z"], out, scale, beta, None, (0.0, 1.0))
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_T(s, scale, add, out):
    """out = scale * (s(v) ⊗ s(h) ⊗ s(y) + s(v) ⊗ s(k) ⊗ s(y)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "v" in s and "h" in s and "y" in s:
        multiply_all((s["v"], s["h"]), (s["y"],), out, scale, beta)
        beta = 1.0
    if "v" in s and "k" in s and "y" in s:
        multiply_all((s["v"], s["k"]), (s["y"],), out, scale, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


def weight_statistics_Q(s, scale, add, out):
    """out = scale * (s(u) ⊗ s(h) ⊗ s(z) ⊗ s(v)), plus out if `add`; a use with an absent layer is left out."""
    beta = 1.0 if add else 0.0
    if "u" in s and "h" in s and "z" in s and "v" in s:
        multiply_all((s["u"], s["h"]), (s["z"], s["v"]), out, scale, beta)
        beta = 1.0
    if beta == 0.0:
        out[:] = 0.0


# --- Structure and sweeps ----------------------------------------------------------------------------------------

HEADER = {'model': 'Edges', 'pgmdsl': '0.1.0', 'digest': '0123abcd', 'dtype': 'float32', 'sizes': {'F': 3}}
LAYERS = {'v': {'role': 'visible',
       'unit': 'binary',
       'size': 4,
       'states': 1,
       'bias': 'b',
       'parameters': {},
       'real': False,
       'counts': False,
       'counted': ()},
 'y': {'role': 'visible',
       'unit': 'softmax',
       'size': 6,
       'states': 3,
       'bias': 'c',
       'parameters': {},
       'real': False,
       'counts': False,
       'counted': ()},
 'w': {'role': 'visible',
       'unit': 'replicated_softmax',
       'size': 4,
       'states': 4,
       'bias': 'e',
       'parameters': {},
       'real': False,
       'counts': True,
       'counted': ()},
 'u': {'role': 'given',
       'unit': 'gaussian',
       'size': 2,
       'states': 1,
       'bias': None,
       'parameters': {},
       'real': True,
       'counts': False,
       'counted': ()},
 'h': {'role': 'hidden',
       'unit': 'spin',
       'size': 3,
       'states': 1,
       'bias': 'a',
       'parameters': {},
       'real': False,
       'counts': False,
       'counted': ('w',)},
 'k': {'role': 'hidden',
       'unit': 'spin',
       'size': 3,
       'states': 1,
       'bias': None,
       'parameters': {},
       'real': False,
       'counts': False,
       'counted': ()},
 'z': {'role': 'hidden',
       'unit': 'binary',
       'size': 2,
       'states': 1,
       'bias': 'o',
       'parameters': {},
       'real': False,
       'counts': False,
       'counted': ()}}
WEIGHTS = {'L': {'shape': (4, 4), 'uses': (('v', 'v'),)},
 'M': {'shape': (4, 4), 'uses': (('v', 'v'),)},
 'N': {'shape': (6, 6), 'uses': (('y', 'y'),)},
 'W': {'shape': (4, 3), 'uses': (('v', 'h'),)},
 'U': {'shape': (4, 3), 'uses': (('w', 'h'),)},
 'V': {'shape': (4, 2), 'uses': (('w', 'z'),)},
 'T': {'shape': (4, 3, 6), 'uses': (('v', 'h', 'y'), ('v', 'k', 'y'))},
 'Q': {'shape': (2, 3, 2, 4), 'uses': (('u', 'h', 'z', 'v'),)}}
BLOCKS = (('y', 'z'), ('h', 'k'), ('v', 'w'))
FIELD = {
    "v": field_v,
    "y": field_y,
    "w": field_w,
    "u": field_u,
    "h": field_h,
    "k": field_k,
    "z": field_z,
}
SAMPLE = {
    "v": sample_v,
    "y": sample_y,
    "w": sample_w,
    "u": sample_u,
    "h": sample_h,
    "k": sample_k,
    "z": sample_z,
}
RELAX = {
    "v": relax_v,
    "y": relax_y,
    "w": relax_w,
    "u": relax_u,
    "h": relax_h,
    "k": relax_k,
    "z": relax_z,
}


def exposed(layer, own, s):
    """The own field of a layer, times the summed lengths of those of its `counted` layers that are in `s`."""
    lengths = [s[name].sum(axis=1, dtype=np.float64) for name in LAYERS[layer]["counted"] if name in s]
    return (sum(lengths)[:, None] * own).astype(own.dtype) if lengths else own


def trials_of(layer, s):
    """The lengths of a count layer's documents, (cases,); None for other layers."""
    return s[layer].sum(axis=1, dtype=np.float64) if LAYERS[layer]["counts"] else None


def gibbs_sweep(p, s, own, scale, keys, fields, clamped, blocks=BLOCKS, held=None):
    """Draw every layer that is present and not clamped given the others, block by block, into the arrays of `s`.

    `own`, `scale`, `keys`, `fields` and `held` are dicts by layer; `fields` are overwritten.
    """
    kept = {} if held is None else held
    for layer in (layer for block in blocks for layer in block if layer in s and layer not in clamped):
        FIELD[layer](p, s, fields[layer])
        levels, trials = exposed(layer, own[layer], s), trials_of(layer, s)
        SAMPLE[layer](p, fields[layer], levels, scale[layer], keys[layer], s[layer], trials, kept.get(layer))


def mean_field_sweep(p, s, own, scale, fields, clamped, held=None):
    """Set every layer that is present and not clamped to its mean given the others' means, block by block."""
    kept = {} if held is None else held
    for layer in (layer for block in BLOCKS for layer in block if layer in s and layer not in clamped):
        FIELD[layer](p, s, fields[layer])
        levels, trials = exposed(layer, own[layer], s), trials_of(layer, s)
        RELAX[layer](p, fields[layer], levels, scale[layer], s[layer], trials, kept.get(layer))
