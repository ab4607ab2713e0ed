"""The distribution q of hidden layers given data, as a model of its own whose data layers are given.

With recognition edges q draws the layers in the order of an up-pass, p's exact conditional serving hidden layers
without such edges (Hinton, Dayan, Frey and Neal 1995). Without any, q is the mean-field distribution: its units are
independent, and the model of q has no edge, but for every hidden layer a bias of its own, at which the layer has its
mean. So every formula of a model serves q too. An entropy is the mean of -log q.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from pgmdsl.compiler.derive import derive_conditional, derive_energy, derive_free_energy
from pgmdsl.compiler.energy import Fields, declared_fields
from pgmdsl.compiler.expressions import renamed, split_sum, total
from pgmdsl.compiler.forms import FormError
from pgmdsl.compiler.graph import greedy_stages
from pgmdsl.compiler.model import Edge, Initial, Layer, Model, Parameter
from pgmdsl.compiler.parts import is_document, recognised, restricted
from pgmdsl.compiler.rewrite import rewrite
from pgmdsl.compiler.symbols import Symbols
from pgmdsl.grammar.source import Span
from pgmdsl.grammar.syntax import Expression, Index, Name


@dataclass(frozen=True)
class Posterior:
    """q of a model: a model of its own, and the layers it draws, each after those it depends on.

    `by_means` where it is the mean-field distribution.
    """

    fields: Fields
    layers: tuple[str, ...]
    by_means: bool

    @property
    def model(self) -> Model:
        """The model of q."""
        return self.fields.symbols.model

    @cached_property
    def log(self) -> Expression:
        """The logarithm of q of all its layers."""
        given = [name for name, layer in self.model.layers.items() if layer.role == "given"]
        own = split_sum(derive_energy(self.fields.symbols), -1)
        return total([*own, *split_sum(derive_free_energy(self.fields, given))])

    def means(self) -> Iterator[tuple[str, tuple[str, ...], Expression]]:
        """The layers, the last one first, each with its letters and the mean of a unit given those before it."""
        for name in reversed(self.layers):
            found = derive_conditional(self.fields, name, ())
            yield name, found.indices, found.mean

    def mean(self, unit: Index) -> Expression:
        """The mean of a unit, in its own indices; `by_means`, where it depends on no state."""
        letters = self.fields.symbols.letters[unit.name]
        found = derive_conditional(self.fields, unit.name, ()).mean
        names = dict(zip(letters, (i.name for i in unit.indices if isinstance(i, Name)), strict=True))
        return renamed(found, names, self.fields.symbols.reserved)


def with_means(model: Model) -> Model:
    """The model with a parameter for the mean of every hidden unit under the mean-field distribution."""
    if model.recognises:
        return model
    added = {}
    for layer in model.layers.values():
        if layer.role == "hidden":
            name = mean_parameter(layer.name)
            start = Initial("constant", 0.0)
            added[name] = Parameter(name, "bias", (layer.name,), layer.dims, start, fixed=False, span=layer.span)
    return replace(model, parameters={**model.parameters, **added})


def mean_parameter(layer: str) -> str:
    """The name of the bias at which a layer has its mean, one that no file can have."""
    return f"logit({layer})"


def posterior_of(symbols: Symbols, span: Span) -> Posterior:
    """The distribution q of a model, which has the parameters of `with_means`. Raises `FormError`."""
    model = symbols.model
    hidden = tuple(name for name, layer in model.layers.items() if layer.role == "hidden")
    if not hidden:
        raise FormError("E071", span, "the model has no hidden layer, so there is no q", "leave this check out")
    layers = {n: replace(x, role="given", bias=None, counted=()) for n, x in model.layers.items() if n not in hidden}
    edges: tuple[Edge, ...] = ()
    if not model.recognises:
        layers |= {n: replace(model.layers[n], bias=mean_parameter(n), counted=()) for n in hidden}
        order = hidden
    else:
        layers |= {n: _recognised(model, model.layers[n]) for n in hidden}
        edges = (*model.recognition, *_exact(model, span))
        first = [n for n in hidden if model.layers[n].recognition is not None and n not in recognised(model)]
        order = (*first, *recognised(model), *(n for n in hidden if model.layers[n].recognition is None))
    ordered = {n: layers[n] for n in model.layers}
    part = replace(model, layers=ordered, edges=(), directed=edges, recognition=())
    return Posterior(declared_fields(replace(symbols, model=part)), order, not model.recognises)


def _recognised(model: Model, layer: Layer) -> Layer:
    """A hidden layer with the bias that it has in q."""
    if layer.recognition is None:
        return layer
    sources = [e.tail for e in model.recognition if e.head == layer.name and is_document(model.layers[e.tail])]
    return replace(layer, bias=layer.recognition, counted=tuple(n for n in model.layers if n in sources))


def _exact(model: Model, span: Span) -> Iterator[Edge]:
    """The edges into hidden layers that q draws from p's conditional. Raises `FormError` where it has no factors."""
    left = {n for n, x in model.layers.items() if x.role == "hidden" and x.recognition is None}
    for edge in model.edges:
        ends = [name for name in edge.layers if name in left]
        if len(ends) > 1 or (ends and len(edge.layers) > 2):
            names = " and ".join(dict.fromkeys(ends or edge.layers))
            message = f"q draws {names} from the model, whose conditional does not factorise there ({edge.weight})"
            raise FormError("E071", span, message, "leave this check out, or say it of p by sums over states")
        if ends:
            yield replace(edge, kind="directed", head=ends[0])
    yield from (edge for edge in model.directed if edge.head in left)


def up_pass(symbols: Symbols, unit: Index) -> Expression:
    """The mean of a hidden unit in a deterministic pass from the data, each layer hearing the means of those below.

    A layer without recognition edges hears what it does in its stage of greedy pretraining: Salakhutdinov (2015), eqs.
    26-28, and with the input doubled where an input from above is to come (Salakhutdinov and Hinton 2009).
    """
    model, name = symbols.model, unit.name
    if model.layers[name].recognition is None:
        stage = next((s for s in greedy_stages(model) if s.upper == name), None)
        if stage is None:
            message = f"no pass from the data reaches {name}"
            raise FormError("E071", unit.span, message, "it needs edges to layers that are declared before it")
        every = scaled(declared_fields(replace(symbols, model=restricted(model, stage))), stage.scale)
        heard = [p for p in every.contributions[name] if set(p.neighbours) <= set(stage.lower)]
        fields = Fields(every.symbols, {name: tuple(heard)})
    else:
        layers = {n: replace(x, role="given", bias=None) for n, x in model.layers.items() if n != name}
        part = {n: layers[n] if n != name else _recognised(model, model.layers[n]) for n in model.layers}
        edges = tuple(e for e in model.recognition if e.head == name)
        fields = declared_fields(replace(symbols, model=replace(model, layers=part, edges=(), directed=edges)))
    found = derive_conditional(fields, name, ())
    names = {old: i.name for old, i in zip(found.indices, unit.indices, strict=True) if isinstance(i, Name)}

    def change(node: Expression) -> Expression | None:
        lower = isinstance(node, Index) and node.name in model.layers and model.layers[node.name].role == "hidden"
        return up_pass(symbols, node) if lower and isinstance(node, Index) else None

    return rewrite(renamed(found.mean, names, symbols.reserved), change)


def scaled(fields: Fields, scale: Mapping[str, float]) -> Fields:
    """The fields with the input of some layers counted several times."""
    parts = {
        name: tuple(replace(p, coefficient=p.coefficient * Fraction(scale.get(name, 1.0))) for p in found)
        for name, found in fields.contributions.items()
    }
    return Fields(fields.symbols, parts)
