"""A model's derivation for reading (text), for papers (LaTeX) and for programs (JSON)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from textwrap import wrap
from typing import Any

from pgmdsl.compiler.derivation import Conditional, Derivation, Equation
from pgmdsl.compiler.model import Layer, Model, joined
from pgmdsl.compiler.rewrite import rewrite, walk
from pgmdsl.compiler.typeset import unicode_terms, unicode_text
from pgmdsl.compiler.typeset_latex import escaped, latex, latex_name, latex_pieces, latex_terms
from pgmdsl.compiler.units import Counts
from pgmdsl.grammar.format import format_expression
from pgmdsl.grammar.syntax import Call, Expression, Index, Name

LATEX_HEAD = r"""\documentclass{article}
\usepackage[margin=2.2cm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\begin{document}"""
LATEX_TAIL = r"\end{document}"
WIDTH = 110  # of a line of text, where the terms of a formula let it break
_SIGNS = ("—", "—", "→", "⇝")  # between the layers of an edge
_SIGN = re.compile(r" (?=[+−] )")  # where a line may break inside a term
_LATEX_WIDTH = 88  # of a line of a displayed formula, in characters of its Unicode form
_NEW_LINE = " \\\\\n&\\quad"


@dataclass(frozen=True, slots=True)
class _Line:
    """A formula with what stands before its equals sign: an expression, or words."""

    left: Expression | str
    right: Expression


@dataclass(frozen=True, slots=True)
class _Section:
    """A heading, a remark or none, and formulas aligned at their equals signs; `layer` for the section of one layer."""

    heading: str
    lines: tuple[_Line, ...]
    remark: str | None = None
    layer: str | None = None


def derivation_text(model: Model, derivation: Derivation) -> str:
    """The whole derivation as aligned text: layers, energy, conditionals, mean field, free energy, gradients."""
    out = [_title(model), "", *_table(model)]
    for section in _sections(model, derivation):
        indent = "  " if section.layer is None else "    "
        out += ["", section.heading if section.layer is None else f"  {section.layer}: {section.heading}"]
        if section.remark:
            out += wrap(f"({section.remark})", WIDTH, initial_indent=indent, subsequent_indent=f"{indent} ")
        lefts = [unicode_text(line.left) if not isinstance(line.left, str) else line.left for line in section.lines]
        width = max((len(left) for left in lefts), default=0)
        for left, line in zip(lefts, section.lines, strict=True):
            out += wrapped(f"{indent}{left:<{width}} = ", line.right)
    return "\n".join(out) + "\n"


def derivation_latex(model: Model, derivation: Derivation) -> str:
    """The whole derivation as a LaTeX document (amsmath): a heading and an aligned display for each section."""
    out = [LATEX_HEAD, rf"\section*{{{escaped(_title(model))}}}"]
    for section in _sections(model, derivation):
        heading = escaped(section.heading)
        if section.layer is None:
            out.append(rf"\subsection*{{{heading}}}")
        else:
            out.append(rf"\subsubsection*{{${latex_name(section.layer)}$: {heading}}}")
        if section.remark:
            out.append(escaped(section.remark[0].upper() + section.remark[1:]) + ".")
        if section.lines:
            rows = (rf"{_latex_left(line.left)} &= {broken(line.right)}" for line in section.lines)
            out += [r"\begin{align*}", " \\\\\n".join(rows), r"\end{align*}"]
    return "\n".join([*out, LATEX_TAIL, ""])


def model_json(model: Model) -> dict[str, Any]:
    """A checked model as plain data. The layers of an edge are in the order of its weight's axes: of a directed one the
    child first, of a recognition one the source.
    """
    return {
        "model": model.name,
        "sizes": dict(model.sizes),
        "layers": [_layer_json(layer) for layer in model.layers.values()],
        "parameters": {p.name: [str(n) for n in p.shape] for p in model.parameters.values()},
        "edges": [{"kind": e.kind, "layers": list(e.layers), "weight": e.weight} for e in model.all_edges],
    }


def derivation_json(model: Model, derivation: Derivation) -> dict[str, Any]:
    """The whole derivation as plain data.

    A formula is `{"ebm": ..., "unicode": ..., "latex": ...}`: in the language of model files, for reading, for
    papers; an equation has a formula for each side and for the whole.
    """
    means = _mean_field(model, derivation)
    free = derivation.free_energy
    return {
        **model_json(model),
        "energy": _equation_json(derivation.energy),
        "conditionals": {name: _conditional_json(c) for name, c in derivation.conditionals.items()},
        "recognition": {name: _conditional_json(c) for name, c in derivation.recognition.items()},
        "mean_field": {n: _equation_json(e, means[n]) for n, e in derivation.mean_field.items()},
        "free_energy": None if free is None else _equation_json(free),
        "free_energy_reason": derivation.free_energy_reason,
        "gradients": {name: _equation_json(e) for name, e in derivation.gradients.items()},
    }


def _title(model: Model) -> str:
    sizes = ", ".join(name if value is None else f"{name} = {value}" for name, value in model.sizes.items())
    return f"{model.name}({sizes})" if sizes else model.name


def _units(layer: Layer) -> str:
    return f"{layer.unit.name}[{', '.join(map(str, layer.dims))}]"


def _table(model: Model) -> Iterator[str]:
    """The layers and the weights, in columns, by the file's own names."""
    rows: list[tuple[str, str, str, str]] = []
    for layer in model.layers.values():
        extra = [f"bias {layer.bias}"] if layer.bias else ["no bias"] if layer.role != "given" else []
        extra += layer.parameters.values()
        extra += [f"{layer.trials} trials"] if layer.trials is not None else []
        extra += [f"bias times the length of {' and '.join(layer.counted)}"] if layer.counted else []
        extra += [f"recognition bias {layer.recognition}"] if layer.recognition else []
        rows.append((layer.name, layer.role, _units(layer), ", ".join(extra)))
    for edge in model.all_edges:
        shape = ", ".join(str(n) for n in model.parameters[edge.weight].shape)
        kind = "recognition" if edge.kind == "recognition" else "weight"
        rows.append((joined(edge, _SIGNS), kind, f"{edge.weight}[{shape}]", ""))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _sections(model: Model, derivation: Derivation) -> Iterator[_Section]:
    yield _Section(
        "Energy",
        (_line(derivation.energy),),
        f"the probability of a state is {_probability('E', model)}{_meaning(model)}",
    )
    field = _free_name(model, derivation)
    yield _Section("Conditionals", (), f"of each unit, given {_conditions(model)}; {field} is its total field")
    for conditional in derivation.conditionals.values():
        yield _conditional(conditional, field)
    if derivation.recognition:
        yield _Section(
            "Recognition", (), "the distribution q of hidden layers given data, in the order of drawing them"
        )
    for conditional in derivation.recognition.values():
        yield _conditional(conditional, field)
    means = _mean_field(model, derivation)
    if means:
        remark = "the means of the hidden units, solved for together"
        yield _Section("Mean field", tuple(map(_line, means.values())), remark)
    free = derivation.free_energy
    if free is None:
        yield _Section("Free energy", (), f"none in closed form: {derivation.free_energy_reason}")
    else:
        yield _Section(
            "Free energy", (_line(free),), f"the probability of the visible layers is {_probability('F', model)}"
        )
    gradients = tuple(map(_line, derivation.gradients.values()))
    remark = "of the log-likelihood, per case" if gradients else "none: every parameter is fixed"
    if gradients and model.directed:
        remark += "; parameters of layers with parents have no model phase"
    if any(p.symmetric and not p.fixed for p in model.parameters.values()):
        remark += "; an entry of a symmetric weight stands at both its places"
    yield _Section("Gradients", gradients, remark)


def _conditions(model: Model) -> str:
    """What conditionals are given."""
    others = "units" if any(edge.lateral for edge in model.edges) else "layers"
    if not model.directed:
        return f"all other {others}"
    if not model.edges:
        return "its parents"
    return f"its parents, or where it has none the other {others} that have none"


def _probability(energy: str, model: Model) -> str:
    """The probability of an energy; where layers without parents are none, all is normalised by itself."""
    return f"exp(-{energy})/Z" if model.core else f"exp(-{energy})"


def _meaning(model: Model) -> str:
    """What Z is of, what it depends on, and what a document is."""
    documents = [layer.name for layer in model.layers.values() if isinstance(layer.unit.support, Counts)]
    given = [layer.name for layer in model.layers.values() if layer.role == "given"]
    counted = documents
    out = ""
    if model.directed:
        given, counted = ([name for name in names if name in model.core] for names in (given, documents))
        own = [name for name in model.core if name not in given]
        out = f", with the Z of {', '.join(own[:-1])}{' and ' if own[1:] else ''}{own[-1]} alone" if own else ""
    out += f", {'with Z ' if not out else ''}for each {' and '.join(given)}" if given else ""
    if documents:
        out += "; documents in order"
        out += f", Z for the length of {' and '.join(counted)}" if counted else ""
    return out


def _line(equation: Equation) -> _Line:
    return _Line(equation.left, equation.right)


def _free_name(model: Model, derivation: Derivation) -> str:
    """A name for the field that means nothing else in the model."""
    taken = {i for c in derivation.conditionals.values() for i in c.indices}
    taken |= model.layers.keys() | model.parameters.keys() | model.sizes.keys()
    return next(n for n in chain(("f", "field"), (f"field{k}" for k in count(1))) if n not in taken)


def _conditional(conditional: Conditional, name: str) -> _Section:
    """One layer's formulas, its field written once and abbreviated after."""
    field = Index(name, tuple(Name(i) for i in conditional.indices))
    left, right = conditional.equation.left, conditional.equation.right
    if isinstance(right, Call) and right.function == "exp":  # it has no name, and is long
        right = _abbreviated(right, conditional.field, field)
    lines = [
        _Line(left, right),
        _Line(field, conditional.field),
        _Line("mean", _abbreviated(conditional.mean, conditional.field, field)),
    ]
    if conditional.deviation is not None:
        lines.append(_Line("deviation", conditional.deviation))
    lines.append(_Line("log-partition", _abbreviated(conditional.log_partition, conditional.field, field)))
    return _Section(conditional.family, tuple(lines), layer=conditional.layer)


def _abbreviated(formula: Expression, field: Expression, short: Index) -> Expression:
    """The formula with `short` for the field, and for the field at another index that the formula binds in a call."""
    bound = {n for e in walk(formula) if isinstance(e, Call) and e.generator for n in e.generator.names}
    known: dict[Expression, Expression] = {field: short}
    for index in short.indices:
        for name in sorted(bound):
            known.setdefault(_renamed(field, index, Name(name)), _renamed(short, index, Name(name)))
    return rewrite(formula, known.get)


def _renamed(formula: Expression, old: Expression, new: Expression) -> Expression:
    return rewrite(formula, lambda node: new if node == old else None)


def _mean_field(model: Model, derivation: Derivation) -> dict[str, Equation]:
    """The mean-field equations with a hidden layer's name, which there stands for its mean, marked as a mean."""
    hidden = {layer.name for layer in model.layers.values() if layer.role == "hidden"}

    def mark(node: Expression) -> Expression | None:
        return Call("mean_field", (node,)) if isinstance(node, Index) and node.name in hidden else None

    return {n: replace(e, right=rewrite(e.right, mark)) for n, e in derivation.mean_field.items()}


def wrapped(start: str, right: Expression) -> Iterator[str]:
    """The lines of one formula, broken between terms where it is long, and inside a term that is longer than a line."""
    line, indent = start, " " * len(start)
    for k, term in enumerate(unicode_terms(right)):
        if k and len(line) + len(term) > WIDTH:
            yield line.rstrip()
            line = indent
        long = len(indent) + len(term) > WIDTH
        for inner, part in enumerate(_SIGN.split(term) if long else [term]):
            if inner and len(line) + len(part) > WIDTH:
                yield line.rstrip()
                line = indent + "  "
            line += part + " "
    yield line.rstrip()


def broken(right: Expression) -> str:
    """A displayed formula, broken between terms where it is long, and inside a term that is longer than a line."""
    out, length = "", 0
    for k, (term, plain) in enumerate(zip(latex_terms(right), unicode_terms(right), strict=True)):
        if k and length + len(plain) > _LATEX_WIDTH:
            out += _NEW_LINE
            length = 0
        if len(plain) > _LATEX_WIDTH:
            inner = latex_pieces(term)
            share = len(plain) / max(1, sum(map(len, inner)))  # of a sign on paper, for one in the source
            for part in inner:
                if length and length + share * len(part) > _LATEX_WIDTH:
                    out += _NEW_LINE + r"\quad "
                    length = 0
                out += part
                length += round(share * len(part))
            continue
        out += f" {term}"
        length += len(plain) + 1
    return out.strip()


def _latex_left(left: Expression | str) -> str:
    return rf"\text{{{escaped(left)}}}" if isinstance(left, str) else latex(left)


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "role": layer.role,
        "unit": layer.unit.name,
        "dims": [str(n) for n in layer.dims],
        "bias": layer.bias,
        "parameters": dict(layer.parameters),
        "trials": None if layer.trials is None else str(layer.trials),
        "counted": list(layer.counted),
        "recognition": layer.recognition,
    }


def _conditional_json(conditional: Conditional) -> dict[str, Any]:
    c = conditional
    return {
        "family": c.family,
        "indices": list(c.indices),
        "given": list(c.given),
        "equation": _equation_json(c.equation),
        "field": _formula_json(c.field),
        "mean": _formula_json(c.mean),
        "deviation": None if c.deviation is None else _formula_json(c.deviation),
        "log_partition": _formula_json(c.log_partition),
    }


def _equation_json(equation: Equation, shown: Equation | None = None) -> dict[str, Any]:
    """Both sides and the whole; `shown` is the equation as it is typeset where that differs."""
    shown = shown or equation
    left, right = _formula_json(equation.left, shown.left), _formula_json(equation.right, shown.right)
    whole = {
        "ebm": f"{left['ebm']} == {right['ebm']}",
        "unicode": f"{left['unicode']} = {right['unicode']}",
        "latex": f"{left['latex']} = {right['latex']}",
    }
    return {**whole, "left": left, "right": right}


def _formula_json(formula: Expression, shown: Expression | None = None) -> dict[str, str]:
    shown = shown or formula
    return {"ebm": format_expression(formula), "unicode": unicode_text(shown), "latex": latex(shown)}
