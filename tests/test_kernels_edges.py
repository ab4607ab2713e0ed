"""Fields, statistics and sweeps over edges of every kind, against dense NumPy sums over the declared terms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_models import EDGES, LATERAL, Dtype, loaded, random_case

from pgmdsl.runtime.random import stream_key

CASES = 3
TOLERANCE = {"float32": 3e-5, "float64": 1e-9}
LETTERS = "ijkl"


def load(text: str, dtype: Dtype, tmp_path_factory, jit: bool):
    import numba

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGMDSL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(numba.config, "DISABLE_JIT", not jit)
        return loaded(text, dtype)


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    return load(EDGES, "float64", tmp_path_factory, jit=False)


@pytest.fixture(scope="module")
def edges_single(tmp_path_factory):
    return load(EDGES, "float32", tmp_path_factory, jit=True)


@pytest.fixture(scope="module")
def lateral(tmp_path_factory):
    return load(LATERAL, "float64", tmp_path_factory, jit=False)


@pytest.fixture(params=["edges", "edges_single"])
def kernels(request):
    return request.getfixturevalue(request.param)


def tolerance(kernels):
    return TOLERANCE[kernels.header["dtype"]]


def sent(kernels, p, s, layer):
    """The coupling field of a layer: minus the derivative of the energy of the edges among the layers in `s`."""
    out = np.zeros((CASES, kernels.layers[layer]["size"]))
    for weight, facts in kernels.weights.items():
        for use in facts["uses"]:
            letters = LETTERS[: len(use)]
            for axis in range(1 if len(set(use)) < len(use) else len(use)):
                others = [name for i, name in enumerate(use) if i != axis]
                if use[axis] == layer and all(name in s for name in others):
                    sources = [f"c{letters[i]}" for i in range(len(use)) if i != axis]
                    form = f"{letters},{','.join(sources)}->c{letters[axis]}"
                    out += np.einsum(form, p[weight].astype(float), *(s[name].astype(float) for name in others))
    return out


# --- fields and statistics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 1])
def test_fields_of_edges_of_any_number_of_layers(kernels, chunk, monkeypatch):
    if chunk is not None:  # one case at a time
        for name in ("LARGEST", "FEWEST"):
            monkeypatch.setitem(kernels.field["v"].__globals__, name, chunk)
    p, s = random_case(kernels, CASES)
    for layer in "vywhkz":
        for present in ("vywuhkz", "vyuhz", "hy", "vk", ""):
            state = {n: s[n] for n in present}
            out = np.full((CASES, kernels.layers[layer]["size"]), 7, kernels.header["dtype"])
            kernels.field[layer](p, state, out)
            np.testing.assert_allclose(out, sent(kernels, p, state, layer), atol=tolerance(kernels))


@pytest.mark.parametrize("chunk", [None, 1])
def test_statistics_of_edges_of_any_number_of_layers(kernels, chunk, monkeypatch):
    if chunk is not None:
        for name in ("LARGEST", "FEWEST"):
            monkeypatch.setitem(kernels.field["v"].__globals__, name, chunk)
    _, s = random_case(kernels, CASES)
    for weight, facts in kernels.weights.items():
        for present, add in itertools.product(("vywuhkz", "vyh", "v", ""), (False, True)):
            rng = np.random.default_rng(1)
            out = rng.normal(size=facts["shape"]).astype(kernels.header["dtype"])
            wanted = out.astype(float) if add else np.zeros(out.shape)
            kernels.weight_statistics[weight]({n: s[n] for n in present}, 0.5, add, out)
            for use in facts["uses"]:
                if set(use) <= set(present):
                    letters = LETTERS[: len(use)]
                    form = f"{','.join('c' + x for x in letters)}->{letters}"
                    share = 0.5 * np.einsum(form, *(s[name].astype(float) for name in use))
                    if use[0] == use[1]:
                        blocks = np.ones((kernels.layers[use[0]]["states"],) * 2)
                        share *= 1 - np.kron(np.eye(len(share) // len(blocks)), blocks)
                    wanted += share
            np.testing.assert_allclose(out, wanted, atol=tolerance(kernels))


def test_statistics_of_lateral_weights_are_exactly_symmetric_with_zero_blocks(edges_single):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 6)).astype(np.float32)
    out = np.full((6, 6), np.nan, np.float32)
    edges_single.weight_statistics["N"]({"y": y}, 0.3, False, out)
    assert np.array_equal(out, out.T)
    assert not out[:3, :3].any()
    assert not out[3:, 3:].any()
    assert np.all(out[:3, 3:] != 0)


# --- held entries, lengths, given layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("layer", list("vyhkz"))
def test_held_entries_stay_and_the_others_are_as_without(kernels, layer):
    p, s = random_case(kernels, CASES)
    rng = np.random.default_rng(2)
    size, states = kernels.layers[layer]["size"], kernels.layers[layer]["states"]
    field, own = (rng.normal(size=shape).astype(s[layer].dtype) for shape in ((CASES, size), (CASES, size)))
    held = np.repeat(rng.random((CASES, size // states)) < 0.5, states, axis=1)
    assert held.any()
    assert not held.all()
    free, some = s[layer].copy(), s[layer].copy()
    kernels.mean[layer](p, field, own, 0.7, free)
    kernels.mean[layer](p, field, own, 0.7, some, None, held)
    np.testing.assert_array_equal(some, np.where(held, s[layer], free))
    if layer not in "vy":  # their units hear each other
        free, some = s[layer].copy(), s[layer].copy()
        kernels.sample[layer](p, field, own, 0.7, stream_key(1), free)
        kernels.sample[layer](p, field, own, 0.7, stream_key(1), some, None, held)
        np.testing.assert_array_equal(some, np.where(held, s[layer], free))


def test_own_fields_may_differ_by_case(edges):
    p, s = random_case(edges, CASES)
    rng = np.random.default_rng(3)
    for layer in "vyhkz":
        field, own = (rng.normal(size=s[layer].shape).astype(s[layer].dtype) for _ in range(2))
        for function in (edges.mean[layer], edges.relax[layer]):
            together, alone = s[layer].copy(), s[layer].copy()
            function(p, field.copy(), own, 0.7, together)
            for i in range(CASES):
                function(p, field[i : i + 1].copy(), own[i], 0.7, alone[i : i + 1])
            np.testing.assert_allclose(together, alone, atol=tolerance(edges))
        total, single = np.zeros(CASES), np.zeros(CASES)
        edges.log_partition[layer](p, field, own, 0.7, total)
        edges.log_partition_change[layer](p, field, own, 0.7, own * 2, 0.9, total)
        for i in range(CASES):
            edges.log_partition[layer](p, field[i : i + 1], own[i] * 2, 0.9, single[i : i + 1])
        np.testing.assert_allclose(total, single, atol=10 * tolerance(edges))


def test_a_sweep_keeps_lengths_and_multiplies_biases_by_them(edges):
    p, s = random_case(edges, CASES)
    own = {n: np.random.default_rng(4).normal(size=x.shape[1]) for n, x in s.items()}
    scale, keys = dict.fromkeys(s, 0.3), {n: stream_key(1, n) for n in s}
    fields = {n: np.empty_like(x) for n, x in s.items()}
    lengths = s["w"].sum(axis=1)
    assert len(set(lengths)) == CASES
    before = {n: x.copy() for n, x in s.items()}
    edges.gibbs_sweep(p, s, own, scale, keys, fields, {"u", "v", "y", "k"}, (("h", "z"), ("w",)))
    np.testing.assert_array_equal(s["w"].sum(axis=1), lengths)
    assert np.any(s["w"] != before["w"])
    assert all(np.array_equal(s[n], before[n]) for n in "uvyk")
    for layer, exposure in (("h", lengths[:, None]), ("z", 1.0)):
        now = s if layer == "z" else before
        wanted, field = before[layer].copy(), np.empty_like(before[layer])
        edges.field[layer](p, {**before, "h": now["h"]}, field)
        edges.sample[layer](p, field, exposure * own[layer], scale[layer], keys[layer], wanted)
        np.testing.assert_array_equal(s[layer], wanted)
    wanted = before["w"].copy()
    edges.sample["w"](p, sent(edges, p, s, "w"), own["w"], 0.3, keys["w"], wanted, lengths)
    np.testing.assert_array_equal(s["w"], wanted)


def test_a_document_that_is_left_out_multiplies_nothing(edges):
    p, s = random_case(edges, CASES)
    own = {"h": np.array([0.5, -1.0, 2.0])}
    state, fields = {"h": np.zeros((CASES, 3)), "v": s["v"]}, {"h": np.zeros((CASES, 3))}
    edges.mean_field_sweep(p, state, own, {"h": 1.0}, fields, {"v"})
    np.testing.assert_allclose(state["h"], np.tanh(own["h"] + s["v"] @ p["W"]))


def test_held_entries_of_a_sweep(edges):
    p, s = random_case(edges, CASES)
    rng = np.random.default_rng(6)
    own, scale = {n: np.zeros(x.shape[1]) for n, x in s.items()}, dict.fromkeys(s, 0.2)
    fields, keys = {n: np.empty_like(x) for n, x in s.items()}, {n: stream_key(2, n) for n in s}
    held = {"v": rng.random(s["v"].shape) < 0.5, "w": rng.random(s["w"].shape) < 0.5}
    before = {n: x.copy() for n, x in s.items()}
    for _ in range(3):
        edges.gibbs_sweep(p, s, own, scale, keys, fields, {"u"}, held=held)
        edges.mean_field_sweep(p, s, own, scale, fields, {"u"}, held=held)
    for layer, entries in held.items():
        np.testing.assert_array_equal(s[layer][entries], before[layer][entries])
        assert np.any(s[layer][~entries] != before[layer][~entries])
    np.testing.assert_allclose(s["w"].sum(axis=1), before["w"].sum(axis=1))


def test_the_statistic_of_a_given_gaussian_layer_is_its_state(edges):
    x = np.array([[0.5, -3.0]])
    np.testing.assert_array_equal(edges.statistic["u"]({}, x), x)
    np.testing.assert_array_equal(edges.state["u"]({}, x), x)
    assert edges.slope["u"] == {}


# --- units in turn -----------------------------------------------------------------------------------------------


def in_turn(kernels, layer, p, field, own, scale, state, weight, held, order):
    """A sequential mean-field pass by NumPy: each site's mean, then the field of its new state."""
    states = kernels.layers[layer]["states"]
    state, field = state.copy(), field.copy()
    for site in order:
        entries = slice(site * states, (site + 1) * states)
        means = np.empty_like(state)
        kernels.mean[layer](p, field, own, scale, means)
        change = np.where(held[:, entries], 0.0, means[:, entries] - state[:, entries])
        state[:, entries] += change
        field += change @ p[weight][entries]
    return state, field


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize(("layer", "group"), [*itertools.product("abckefgi", [1]), ("a", 2), ("b", 6), ("g", 32)])
def test_means_in_turn(lateral, layer, group, coloured, monkeypatch):
    monkeypatch.setitem(lateral.field["a"].__globals__, "GROUP", group)
    p, s = random_case(lateral, CASES)
    size, states = s[layer].shape[1], lateral.layers[layer]["states"]
    rng = np.random.default_rng(5)
    sites = size // states
    order = range(sites)
    if coloured:
        colours = np.array([1, 0, 1, 0][:sites], np.int32)
        alike = np.repeat(colours, states)[:, None] == np.repeat(colours, states)
        p[layer.upper()] = np.where(alike, 0.0, p[layer.upper()])
        p[f"colours {layer}"] = colours
        order = np.argsort(colours, kind="stable")
    own, field = rng.normal(size=(2, CASES, size)) * 0.5
    held = np.repeat(rng.random((CASES, sites)) < 0.3, states, axis=1)
    wanted, follows = in_turn(lateral, layer, p, field, own, 0.6, s[layer], layer.upper(), held, order)
    lateral.relax[layer](p, field, own, 0.6, s[layer], None, held)
    np.testing.assert_allclose(s[layer], wanted, atol=1e-12)
    np.testing.assert_allclose(field, follows, atol=1e-12)


@pytest.mark.parametrize("layer", list("abckefgi"))
def test_the_field_follows_draws_in_turn(lateral, layer):
    """Afterwards it is the field of the new state; the other entries are what the unit type can take."""
    p, s = random_case(lateral, 5)
    state = {layer: s[layer], **({"b": s["b"]} if layer == "a" else {})}
    field, before = np.empty_like(s[layer]), s[layer].copy()
    lateral.field[layer](p, state, field)
    lateral.sample[layer](p, field, np.zeros(before.shape[1]), 1.0, stream_key(1), s[layer])
    assert np.any(s[layer] != before)
    again = np.empty_like(field)
    lateral.field[layer](p, state, again)
    np.testing.assert_allclose(field, again, atol=1e-12)


def test_a_case_is_drawn_in_turn_alike_whatever_the_number_of_cases(lateral):
    p, s = random_case(lateral, CASES)
    for layer in "abckefgi":
        field = np.zeros_like(s[layer])
        few, many = s[layer][:1].copy(), s[layer].copy()
        own = np.full(field.shape[1], -0.5)
        lateral.sample[layer](p, field[:1].copy(), own, 1.0, stream_key(1), few)
        lateral.sample[layer](p, field, own, 1.0, stream_key(1), many)
        np.testing.assert_array_equal(few, many[:1])


FIELD_MODEL = """
model Field
visible v : UNIT bias b
v -- v : L
"""
ROWS = 40_000


def states_of(unit: str, sites: int):
    """All statistics of a layer, (states, size), and of one site."""
    site = {"binary": np.array([[0.0], [1.0]]), "softmax": np.eye(3), "spin": np.array([[-1.0], [1.0]])}[unit]
    return np.array([np.concatenate(chosen) for chosen in itertools.product(site, repeat=sites)]), site


def sweep_matrix(states, site, weight, bias, scale, order):
    """The exact transition matrix of one sweep over the sites in this order, from the joint distribution alone."""
    logs = states @ bias + 0.5 * scale * np.einsum("si,ij,sj->s", states, weight, states)
    joint = np.exp(logs - logs.max())
    width, out = site.shape[1], np.eye(len(states))
    for n in order:
        others = np.delete(states, slice(n * width, (n + 1) * width), axis=1)
        same = np.all(others[:, None] == others, axis=2)
        step = same * joint
        out = out @ (step / step.sum(axis=1, keepdims=True))
    return out, joint / joint.sum()


@pytest.mark.parametrize(
    ("unit", "dims", "sites", "colours"),
    [("binary", "4", 4, None), ("spin", "4", 4, (0, 1, 0, 1)), ("softmax", "3, 3", 3, None)],
)
def test_draws_in_turn_have_the_exact_transition_matrix(unit, dims, sites, colours, tmp_path, monkeypatch):
    """From one state, and from the exact distribution, which a sweep leaves alone; within 4 standard errors."""
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    kernels = loaded(FIELD_MODEL.replace("UNIT", f"{unit}[{dims}]"))
    p, _ = random_case(kernels, 1, seed=3)
    states, site = states_of(unit, sites)
    order = range(sites)
    if colours is not None:
        p["colours v"] = np.array(colours, np.int32)
        p["L"] = np.where(p["colours v"][:, None] == p["colours v"], 0, p["L"]).astype(np.float32)
        order = np.argsort(colours, kind="stable")
    weight, bias = p["L"].astype(float), p["b"].astype(float)
    matrix, joint = sweep_matrix(states, site, weight, bias, 0.8, order)
    np.testing.assert_allclose(joint @ matrix, joint, atol=1e-12)
    rng = np.random.default_rng(0)
    starts = {"one": np.full(ROWS, 5), "exact": rng.choice(len(states), ROWS, p=joint)}
    for name, start in starts.items():
        s = {"v": np.ascontiguousarray(states[start], np.float32)}
        field = {"v": np.empty_like(s["v"])}
        kernels.gibbs_sweep(p, s, {"v": p["b"]}, {"v": 0.8}, {"v": stream_key(8, name)}, field, set())
        found = np.argmax(np.all(s["v"][:, None] == states[None].astype(np.float32), axis=2), axis=1)
        share = np.bincount(found, minlength=len(states)) / ROWS
        wanted = matrix[5] if name == "one" else joint
        assert np.all(np.abs(share - wanted) <= 4 * np.sqrt(wanted * (1 - wanted) / ROWS) + 1e-12)


def test_gaussian_draws_in_turn_have_the_exact_mean_and_covariance(tmp_path, monkeypatch):
    """From one state; s_j is drawn with mean own_j + sum_k L_jk s_k and variance 1, in turn."""
    monkeypatch.setenv("PGMDSL_CACHE_DIR", str(tmp_path))
    kernels = loaded(FIELD_MODEL.replace("UNIT", "gaussian[3](sigma = learned)"))
    p, _ = random_case(kernels, 1, seed=3)
    own = kernels.own_factor["v"](p) * p["b"]
    start = np.array([1.0, -2.0, 0.5])
    mean, root = start.copy(), np.zeros((3, 3))  # s = mean + root @ three standard normal numbers
    for j in range(3):
        mean[j] = own[j] + p["L"][j] @ mean
        root[j] = p["L"][j] @ root
        root[j, j] += 1
    s = {"v": np.tile(start, (ROWS, 1)).astype(np.float32)}
    kernels.gibbs_sweep(p, s, {"v": own}, {"v": 1.0}, {"v": stream_key(3)}, {"v": np.empty_like(s["v"])}, set())
    found = s["v"].astype(float)
    covariance = root @ root.T
    spread = np.diag(covariance)
    assert np.all(np.abs(found.mean(axis=0) - mean) < 4 * np.sqrt(spread / ROWS))
    error = np.sqrt((np.outer(spread, spread) + covariance**2) / ROWS)
    assert np.all(np.abs(np.cov(found, rowvar=False) - covariance) < 4 * error)


# --- own parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "own"), [("c", "sigma"), *(("f", name) for name in ("gp", "gm", "tp", "tm"))])
def test_slopes_by_own_parameters(lateral, layer, own):
    """At a state minus the energy's derivative, averaged the log-partition function's; both by differences."""
    p, s = random_case(lateral, CASES)
    name = lateral.layers[layer]["parameters"][own]
    rng = np.random.default_rng(7)
    field = rng.normal(size=s[layer].shape)
    x = lateral.state[layer](p, s[layer])

    def energy(values):
        q = {**p, name: values}
        statistic, out = lateral.statistic[layer](q, x), np.zeros(CASES)
        lateral.base_energy[layer](q, statistic, out)
        total = lateral.own_factor[layer](q) * q[f"b_{layer}"] + field
        return out - (total * statistic).sum(axis=1)

    def log_partition(values):
        q = {**p, name: values}
        out, constant = np.zeros(CASES), np.zeros(1)
        own_field = lateral.own_factor[layer](q) * q[f"b_{layer}"]
        lateral.log_partition[layer](q, field, own_field, 0.7, out)
        lateral.base_energy[layer](q, np.zeros((1, field.shape[1])), constant)
        return out - constant

    found, averaged = np.empty_like(field), np.empty_like(field)
    lateral.slope[layer][own](p, s[layer], field, found)
    own_field = lateral.own_factor[layer](p) * p[f"b_{layer}"]
    lateral.expected_slope[layer][own](p, field, own_field, 0.7, averaged)
    for j in range(field.shape[1]):
        step = 1e-5 * np.eye(field.shape[1])[j]
        slope = -(energy(p[name] + step) - energy(p[name] - step)) / 2e-5
        np.testing.assert_allclose(found[:, j], slope, rtol=1e-6, atol=1e-8)
        change = (log_partition(p[name] + step) - log_partition(p[name] - step)) / 2e-5
        np.testing.assert_allclose(averaged[:, j], change, rtol=1e-6, atol=1e-8)


def test_curvatures_of_real_layers(lateral):
    p, _ = random_case(lateral, CASES)
    assert set(lateral.curvature) == {"c", "e", "f"}
    np.testing.assert_array_equal(lateral.curvature["c"](p), np.ones(3))
    np.testing.assert_array_equal(lateral.curvature["e"](p), np.ones(2))
    np.testing.assert_array_equal(lateral.curvature["f"](p), np.minimum(p["gp_f"], p["gm_f"]))
