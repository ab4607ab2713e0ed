"""The kernels of single unit types, loaded without a model, and what they should compute from the units' energies."""

from __future__ import annotations

import types
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath as mp
import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from pgmdsl.compiler.emit_primitives import embed_primitives
from pgmdsl.compiler.emit_source import Loop, expected_slope_arguments, own_arguments, slope_arguments
from pgmdsl.compiler.emit_units import emit_unit
from pgmdsl.compiler.plan_units import UnitPlan, plan_unit
from pgmdsl.compiler.units import UNITS, Finite, Naturals, OwnParameter, Piece, Real, Unit, Whole
from pgmdsl.compiler.values import evaluate
from pgmdsl.grammar.parse import parse_expression

Array = NDArray[Any]
_CONSTANTS = "GAUSS = 0.28867513459481287\nSTEP = 0.25\n"


def declared(
    name: str, support: Any, base: str, statistic: str = "x", own: str = "", pieces: Any = (), closed: Any = ("0", "0")
) -> Unit:
    """A row such as a unit block of a model file makes; `own` are its parameters, `g>0` for one kept above 0."""
    parameters = tuple(OwnParameter(text.removesuffix(">0"), text.endswith(">0")) for text in own.split())
    return Unit(
        name=name,
        support=support,
        energy=f"({base}) - b*({statistic})",
        statistic=statistic,
        base=base,
        own_field="b",
        constant="0",
        log_partition=closed[0],
        mean=closed[1],
        field_of_mean=None,
        parameters=parameters,
        pieces=pieces,
    )


def _values(*values: float | str) -> Finite:
    return Finite(tuple(Fraction(v) for v in values))


DECLARED = {
    unit.name: unit
    for unit in (
        declared("trit", _values(-1, 0, 1), "0.3*x^2"),
        # names that the emitted source uses itself
        declared("tilted", _values(-1, "1/2", 2), "scale*x^2 + key*x", own="scale>0 key"),
        declared("cubed", _values(-1, "1/2", 2), "out*x^2", "x^3", own="out"),
        declared("falling", _values(1, 2, 3), "0.2*x", "1/x"),
        declared("pair", _values(0, 1), "field*x", own="field"),  # two values, but of a parameter
        declared(
            "shifted",
            Naturals(),
            "log(factorial(x)) + t*x",
            own="t",
            closed=("exp(f - t)", "exp(f - t)"),
            statistic="x",
        ),
        declared(  # the next two as their sums are derived
            "paired",
            Naturals(),
            "log(factorial(x)) + t*x - log(1 + x)",
            own="t",
            closed=(
                "exp(f - t) + log(exp(f) + exp(t)) - t",
                "(2*exp(f - t) + exp(2*f - 2*t))*exp(t)/(exp(f) + exp(t))",
            ),
        ),
        declared(
            "inflated",
            Naturals(),
            "log(factorial(x)) + (t if x == 0 else 0)",
            own="t",
            closed=(
                "exp(f) + log(1 + exp(-t)*exp(-exp(f)) - exp(-exp(f)))",
                "exp(f)/(1 + exp(-t)*exp(-exp(f)) - exp(-exp(f)))",
            ),
        ),
        declared(
            "drelu",
            Real(),
            "gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x",
            own="gp>0 gm>0 tp tm",
            pieces=(Piece(None, Fraction(0), "gm", "tm", "0"), Piece(Fraction(0), None, "gp", "tp", "0")),
        ),
        declared(
            "plateau",  # a narrow piece, a wide one, and a bound
            Real(Fraction(-2)),
            "x^2/2 + w*(1/8 + x/2) if x < -1/4 else 4*w*x^2/2 + x^2/2 if x < 1/4 else 3*x^2/2 - x + 3/16 - w/8",
            own="w>0",
            pieces=(
                Piece(Fraction(-2), Fraction(-1, 4), "1", "w/2", "w/8"),
                Piece(Fraction(-1, 4), Fraction(1, 4), "4*w + 1", "0", "0"),
                Piece(Fraction(1, 4), None, "3", "-1", "3/16 - w/8"),
            ),
        ),
    )
}
EVERY = {**UNITS, **DECLARED}
SCALAR = {name: unit for name, unit in EVERY.items() if not unit.states_axis}
OWN = {
    "b": 0.7,
    "sigma": 1.7,
    "trials": 6.0,
    "scale": 0.8,
    "key": -0.4,
    "out": 0.3,
    "field": 0.6,
    "t": 0.5,
    "gp": 0.6,
    "gm": 1.9,
    "tp": 1.1,
    "tm": -0.6,
    "w": 0.9,
}


@cache
def module(dtype: str, jit: bool, *names: str) -> types.ModuleType:
    """The kernels of these unit types (of all if none is named), compiled or as plain Python."""
    units = [plan_unit(EVERY[name]) for name in names or EVERY]
    body = _CONSTANTS + "\n\n".join(emit_unit(unit) for unit in units)
    imports, primitives = embed_primitives(body, ("Real",), dtype)  # type: ignore[arg-type]
    found = types.ModuleType(f"kernels_{dtype}_{jit}")
    with pytest.MonkeyPatch.context() as patch:
        if not jit:
            patch.setattr(numba.config, "DISABLE_JIT", 1)
        exec(compile(f"{imports}\n{primitives}\n{body}", found.__name__, "exec"), found.__dict__)
    return found


class Kernel:
    """The loops of one unit type, called with arrays by name; those not given are `OWN`'s numbers."""

    def __init__(self, name: str, dtype: str = "float64", jit: bool = False, alone: bool = False) -> None:
        self.unit, self.plan = EVERY[name], plan_unit(EVERY[name])
        self.module = module(dtype, jit, *([name] if alone else []))
        self.dtype = np.dtype(dtype)

    def draw(self, field: Array, own: Array | None = None, key: int = 1, scale: float = 1.0, **given: Any) -> Array:
        return self._loop("draw", field, own, scale, np.uint64(key), given)

    def means(self, field: Array, own: Array | None = None, scale: float = 1.0, **given: Any) -> Array:
        return self._loop("means", field, own, scale, None, given)

    def log_partitions(self, field: Array, own: Array | None = None, scale: float = 1.0, **given: Any) -> Array:
        out = np.zeros(len(field))
        states, arrays, trials, _ = self._extra("add_log_partitions", field, given)
        field, own = self._fields(field, own)
        self._call("add_log_partitions", field, own, scale, *states, *arrays, *trials, out)
        return out

    def changes(self, field: Array, own0: Array, scale0: float, own1: Array, scale1: float, **given: Any) -> Array:
        out = np.zeros(len(field))
        states, arrays, trials, _ = self._extra("add_changes", field, given)
        field, own0, own1 = (np.ascontiguousarray(a, self.dtype) for a in (field, own0, own1))
        self._call("add_changes", field, own0, scale0, own1, scale1, *states, *arrays, *trials, out)
        return out

    def energies(self, s: Array, **given: Any) -> Array:
        out = np.zeros(len(s))
        _, arrays, _, _ = self._extra("add_energies", s, given)
        self._call("add_energies", np.ascontiguousarray(s, self.dtype), *arrays, out)
        return out

    def fields_of_means(self, mean: Array, **given: Any) -> Array:
        mean = np.ascontiguousarray(mean, self.dtype)
        _, arrays, _, _ = self._extra("fields_of_means", mean[None], given)
        out: Array = self._call("fields_of_means", mean, *arrays)
        return out

    def slopes(self, parameter: str, s: Array, field: Array, **given: Any) -> Array:
        slope = next(x for x in self.plan.slopes if x.parameter == parameter)
        arrays = self._arrays(slope_arguments(self.plan, slope), s.shape[1], given)
        out = np.empty(s.shape, self.dtype)
        s, field = (np.ascontiguousarray(a, self.dtype) for a in (s, field))
        self._call(f"slopes_{parameter}", s, field, *arrays, out)
        return out

    def expected_slopes(self, parameter: str, field: Array, own: Array | None = None, **given: Any) -> Array:
        slope = next(x for x in self.plan.slopes if x.parameter == parameter)
        arrays = self._arrays(expected_slope_arguments(self.plan, slope), field.shape[1], given)
        out = np.empty(field.shape, self.dtype)
        field, own = self._fields(field, own)
        self._call(f"expected_slopes_{parameter}", field, own, 1.0, *arrays, out)
        return out

    def _loop(
        self, loop: Loop, field: Array, own: Array | None, scale: float, key: Any, given: dict[str, Any]
    ) -> Array:
        states, arrays, trials, held = self._extra(loop, field, given)
        out = np.array(given["start"], self.dtype) if "start" in given else np.full(field.shape, np.nan, self.dtype)
        field, own = self._fields(field, own)
        self._call(loop, field, own, scale, *states, *arrays, *([] if key is None else [key]), *trials, *held, out)
        return out

    def _fields(self, field: Array, own: Array | None) -> tuple[Array, Array]:
        own = np.zeros((1, field.shape[1])) if own is None else own
        return np.ascontiguousarray(field, self.dtype), np.ascontiguousarray(own, self.dtype)

    def _extra(self, loop: Loop, field: Array, given: dict[str, Any]) -> tuple[list[Any], ...]:
        """The number of states, the arrays with one number per unit, the lengths of documents, what is held."""
        counts = self.unit.name == "replicated_softmax"
        states = [given.get("states", field.shape[1])] if self.unit.states_axis else []
        trials = [np.atleast_1d(np.asarray(given["trials"], float))] if counts else []
        held = [given.get("held", np.zeros((0, 0), np.bool_))] if counts else []
        return states, self._arrays(own_arguments(self.plan, loop), field.shape[1], given), trials, held

    def _arrays(self, names: tuple[str, ...], size: int, given: dict[str, Any]) -> list[Array]:
        return [np.full(size, given.get(name, OWN[name]), self.dtype) for name in names]

    def _call(self, loop: str, *arguments: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return getattr(self.module, f"{self.unit.name}_{loop}")(*arguments)


def formula(text: str) -> Callable[..., float]:
    """A formula as a function of its names, `OWN` for those not given."""
    tree = parse_expression(text)
    return lambda **names: evaluate(tree, {**OWN, **names})


def exact(unit: Unit, f: float, **own: float) -> tuple[Any, Any]:
    """A(f) and E[s] to 50 digits or more, by sums over states or integrals of pieces, from base and statistic alone."""
    with mp.workdps(60):
        if isinstance(unit.support, Real):
            return _integrals(unit, mp.mpf(f), own)
        statistic, base = formula(unit.statistic), formula(unit.base)
        trials = own.get("trials", OWN["trials"])
        match unit.support:
            case Finite(values):
                states = [float(v) for v in values]
            case Whole():
                states = [float(x) for x in range(int(trials) + 1)]
            case Naturals():
                middle = float(np.exp(min(f, 7.0)))
                states = [float(x) for x in range(int(middle + 40 * np.sqrt(middle) + 60))]
        pairs = [(mp.mpf(statistic(x=x, **own)), mp.mpf(base(x=x, **own))) for x in states]
        weights = [mp.exp(f * s - e) for s, e in pairs]
        whole = mp.fsum(weights)
        return mp.log(whole), mp.fsum(s * w for (s, _), w in zip(pairs, weights, strict=True)) / whole


def _integrals(unit: Unit, f: Any, own: dict[str, float]) -> tuple[Any, Any]:
    """By the distribution function of each piece's normal distribution."""
    infinite = mp.inf
    if unit.name == "gaussian":
        sigma = mp.mpf(own.get("sigma", OWN["sigma"]))
        return f * f / 2 + mp.log(sigma * mp.sqrt(2 * mp.pi)), f
    total, first = mp.mpf(0), mp.mpf(0)
    for piece in unit.pieces:
        c, t, constant = (mp.mpf(formula(text)(**own)) for text in (piece.curvature, piece.slope, piece.constant))
        mode, root = (f - t) / c, mp.sqrt(c)
        lower = -infinite if piece.lower is None else mp.mpf(piece.lower.numerator) / piece.lower.denominator
        upper = infinite if piece.upper is None else mp.mpf(piece.upper.numerator) / piece.upper.denominator
        a, b = root * (lower - mode), root * (upper - mode)
        side = 1 if a < 0 else -1  # tails are subtracted on the side where they are small
        between = abs(mp.ncdf(side * b) - mp.ncdf(side * a))
        height = mp.exp((f - t) ** 2 / (2 * c) - constant) * mp.sqrt(2 * mp.pi / c)
        density = [mp.npdf(z) if mp.isfinite(z) else mp.mpf(0) for z in (a, b)]
        total += height * between
        first += height * (mode * between + (density[0] - density[1]) / root)
    return mp.log(total), first / total


def density(unit: Unit, coupling: float, **own: float) -> Callable[[float], float]:
    """exp(-energy + coupling * statistic) of one state, from the declared energy."""
    energy, statistic = formula(unit.energy), formula(unit.statistic)
    return lambda x: float(np.exp(coupling * statistic(x=x, **own) - energy(x=x, **own)))


def planned(name: str) -> UnitPlan:
    return plan_unit(EVERY[name])
