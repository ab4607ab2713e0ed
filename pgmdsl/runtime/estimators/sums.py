"""The sum over all that is latent in a group of cases, block by block.

Some discrete layers are enumerated, chosen so that the rest are independent of each other given them, or Gaussian; the
rest are summed (or integrated) analytically by their log-partition functions:

    sum over x of exp(-energy(x)) = sum over e of exp(score(e) + sum over closed layers R of A_R(field_R(e)) - c_R)

What is known of a case, a row of some layers or of some of their entries, only adds to scores and fields, so that the
same sum gives log p of each case times Z, posterior expectations, log Z, and the model's expectations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error
from pgmdsl.runtime.estimators.evidence import Group
from pgmdsl.runtime.estimators.joint import JointGaussian
from pgmdsl.runtime.estimators.latent import Latent
from pgmdsl.runtime.estimators.plan import EnumerationPlan, plan_enumeration
from pgmdsl.runtime.estimators.states import States
from pgmdsl.runtime.machine import Machine

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]

ROW_BYTES = 2**25  # of one table of rows with its fields


@dataclass(frozen=True, slots=True)
class Block:
    """Joint states as a table of rows combined with one more: log weights (rows,) of each, and what they need.

    `rows` and `one` are states by layer; a layer of which some entries are known is in both, and its state is their
    sum. `own` and `fields` are those of the closed layers, `joint` the total fields of those integrated together.
    """

    rows: Mapping[str, Array]
    one: Mapping[str, Array]
    own: Mapping[str, Array]
    fields: Mapping[str, Array]
    joint: Mapping[str, Array]
    log_weight: Doubles
    cases: slice  # of the group's cases; one case when the rows are states

    @property
    def single(self) -> bool:
        """Whether the rows are states of one case."""
        return bool(self.cases.stop - self.cases.start == 1)


class GroupSum:
    """The sum over all that is latent in a group of cases."""

    def __init__(self, group: Group, limit: int) -> None:
        """Plan it. Raises `Error` where it does not close, or costs more than the limit."""
        self.group, self.evidence, self.machine = group, group.evidence, group.evidence.machine
        machine = self.machine
        self.plan = plan_enumeration(machine.artifact, group.clamped, group.free, machine.layers)
        self.states = States(machine.artifact, self.plan.enumerated, group.free)
        _verify_affordable(machine, self.plan, self.evidence.cases, limit)
        missing, words = group.free.missing, group.free.words
        self.latent = {
            n: Latent(machine, n, missing.get(n), np.array([float(words[n])]) if n in words else None)
            for n in self.plan.closed
        }
        self.joint = JointGaussian(machine, self.plan.joint, missing) if self.plan.joint else None
        self.constant = sum(
            machine.constant(n) * (-1 if n in self.evidence.known else 1)
            for n in self.plan.enumerated + self.plan.closed + self.plan.joint
            if (n in self.plan.enumerated) == (n in self.evidence.known)
        )
        self._held = {n: ~mask for n, mask in missing.items()}
        self.exposure = {n: x for n in machine.layers if (x := self.evidence.exposure(n)) is not None}

    @property
    def block_count(self) -> int:
        """How many blocks there are in all."""
        cases = self.evidence.cases
        more, fewer = max(cases, self.states.count), min(cases, self.states.count)
        return fewer * math.ceil(more / self._chunk)

    @property
    def _chunk(self) -> int:
        """Rows of a table."""
        return max(1, ROW_BYTES // (16 * sum(x.size for x in self.machine.artifact.layers.values())))

    def blocks(self) -> Iterator[Block]:
        """Every case with every enumerated state, once: a table of the more numerous with each of the others."""
        evidence, states = self.evidence, self.states
        cases, chunk = evidence.cases, self._chunk
        rows_are_cases = bool(evidence.known) and cases >= states.count
        rows = cases if rows_are_cases else states.count
        for start in range(0, rows, chunk):
            stop = min(start + chunk, rows)
            part = slice(start, stop)
            if rows_are_cases:
                table = _Rows(
                    self, {n: s[part] for n, s in evidence.known.items()}, stop - start, self.group.free.missing
                )
                for number in range(states.count):
                    one, weight = states.take(number, number + 1)
                    yield table.block(one, self._held, weight[0], part)
            else:
                s, weights = states.take(start, stop)
                table = _Rows(self, s, stop - start, self._held)
                for case in range(cases):
                    one = {n: x[case : case + 1] for n, x in evidence.known.items()}
                    yield table.block(one, self.group.free.missing, weights, slice(case, case + 1))

    def log_sums(self, blocks: Iterable[Block]) -> Doubles:
        """Log of the sum for each case of the group, (cases,)."""
        total = np.full(self.evidence.cases, -np.inf)
        for block in blocks:
            added = np.atleast_1d(log_sum_exp(block.log_weight)) if block.single else block.log_weight
            total[block.cases] = np.logaddexp(total[block.cases], added)
        return total


class _Rows:
    """A table of joint states of some layers, with their scores and the fields that they send to closed layers."""

    def __init__(self, group: GroupSum, rows: dict[str, Array], count: int, absent: Mapping[str, Mask]) -> None:
        """`count` rows; a table may have no layers and one row. `absent`: by layer, which entries they lack."""
        self.group, self.machine, self.rows, self.count = group, group.machine, rows, count
        self.score = self.machine.score(rows, count, biased=False, missing=absent)
        self.own = self._own(rows)
        plan = group.plan
        self.fields = {n: self.machine.coupling(n, rows, count) for n in plan.closed + plan.joint}
        given = {n: rows[n] for n in self.machine.given if n in rows}  # nothing sends them a field: they send it
        self.sent = {n: self.machine.coupling(n, given, count) for n in plan.enumerated if given}

    def _own(self, s: Mapping[str, Array]) -> dict[str, Doubles]:
        """What each layer's own fields add, at length 1, (rows,)."""
        own = self.machine.own
        return {n: x @ own[n].astype(np.float64) for n, x in s.items() if n not in self.machine.given}

    def block(self, one: dict[str, Array], absent: Mapping[str, Mask], log_weight: Doubles, cases: slice) -> Block:
        """The rows combined with one joint state of the other layers, which lacks some entries.

        `log_weight` is that of the states.
        """
        machine, group, dtype = self.machine, self.group, self.machine.dtype
        exposure = {n: x[cases] for n, x in group.exposure.items()}
        total = np.zeros(self.count) + log_weight - group.constant
        fields, beside = self.fields, {n: machine.coupling(n, one, 1)[0] for n in self.fields if one}
        if self._crossed(one):
            every = combined(self.rows, one, self.count)
            closed = {n: mask for n, mask in group.group.free.missing.items() if n not in group.plan.enumerated}
            total += machine.score(every, self.count, biased=False, missing=closed)
            total -= sum(machine.constant(n) for n in one if n in self.rows)  # here the score counts it once
            fields = {n: machine.coupling(n, every, self.count) for n in fields}
            beside = {}
        else:
            total += self.score
            if one:
                total += machine.score(one, 1, biased=False, missing=absent)[0]
                for name, s in self.rows.items():
                    total += s @ machine.coupling(name, one, 1)[0].astype(np.float64)
                for name, sent in self.sent.items():
                    total += sent @ one[name][0].astype(np.float64)
        for part in (self.own, self._own(one)):
            for name, value in part.items():
                total += exposure.get(name, 1.0) * value
        own = {}
        for name in fields:
            at = exposure.get(name, np.ones(1))[:, None] * machine.own[name]
            own[name] = np.ascontiguousarray((at[0] if len(at) == 1 else at) + beside.get(name, 0), dtype)
        for name, latent in group.latent.items():
            latent.add_log_partition(fields[name], own[name], total)
        joint: dict[str, Array] = {}
        if group.joint:
            joint = {n: fields[n].astype(np.float64) + own[n] for n in group.joint.layers}
            total += group.joint.log_sum(joint)
        return Block(self.rows, one, own, fields, joint, total, cases)

    def _crossed(self, one: Mapping[str, Array]) -> bool:
        """Whether an edge of three or more layers joins the rows to the other state."""
        several = (set(e.layers) for e in self.machine.edges if len(e.layers) > 2)
        return any(e & self.rows.keys() and e & one.keys() for e in several)


def combined(rows: Mapping[str, Array], one: Mapping[str, Array], count: int) -> dict[str, Array]:
    """The states of `count` rows, each together with one more."""
    out = dict(rows)
    for name, s in one.items():
        out[name] = np.ascontiguousarray(np.broadcast_to(s, (count, s.shape[1])) + out.get(name, 0))
    return out


def _verify_affordable(machine: Machine, plan: EnumerationPlan, cases: int, limit: int) -> None:
    artifact = machine.artifact
    if any(scale != 1 for scale in machine.scale.values()):
        raise Error(
            f"{artifact.name}: a machine with doubled inputs has no joint distribution: nothing of it is exact; "
            f"train it with negative = cd(1) or pcd(1)"
        )
    if plan.cost(cases) > limit:
        power = f"2^{math.log2(plan.states):.0f}"
        each = f" for each of {cases} cases" if cases > 1 else ""
        raise Error(
            f"{artifact.name}: an exact sum needs all {power} states of {', '.join(plan.enumerated)}{each}, about "
            f"{in_seconds(plan.cost(cases))}; the limit is about {in_seconds(limit)}: use annealed importance sampling "
            f"(method = ais) or smaller layers"
        )


def in_seconds(cost: int) -> str:
    """A duration in words, at a nanosecond or two a unit evaluation."""
    log_seconds = math.log10(cost) - 8.7
    for name, log_length in (("year", 7.5), ("day", 4.94), ("hour", 3.56), ("minute", 1.78)):
        if log_seconds >= log_length:
            amount = log_seconds - log_length
            number = f"{10**amount:.0f}" if amount < 4 else f"10^{amount:.0f}"
            return f"{number} {name}" + ("" if number == "1" else "s")
    return f"{max(1, round(10**log_seconds))} s"


def log_sum_exp(x: Doubles) -> float:
    """Log of the sum of exponentials."""
    top = x.max()
    return float(top + np.log(np.exp(x - top).sum()))
