"""The words of the language: keywords, function names and the names that have a meaning of their own."""

from __future__ import annotations

HEADS = ("ebm", "model", "visible", "hidden", "given", "unit", "check", "data", "train")
"""A statement begins with one of these, or it is an edge."""

OPERATOR_WORDS = frozenset(
    {"if", "else", "for", "over", "under", "at", "in", "where", "bias", "counts", "refuted"},
)
"""Words that are never names, wherever they stand."""

UNIT_ENTRIES = ("param", "support", "energy", "statistic")
PHASES = ("greedy", "fit", "wake_sleep", "finetune")

DISTRIBUTIONS = ("normal", "poisson", "categorical")
FUNCTIONS = (
    *("sigmoid", "softplus", "exp", "log", "tanh", "sqrt", "abs", "factorial", "log_normal_cdf"),
    *("sum", "prod", "softmax"),
    *("p", "q", "word", "length", "free_energy", "log_joint"),
    *("mean", "mean_field", "gradient", "data", "model", "d"),
    *("up", "expect", "entropy", "kl", "wake", "sleep"),
    *DISTRIBUTIONS,
)
SCALARS = ("energy", "bound", "epoch", "step", "progress", "rest", "Z", "pi", "none")
"""Names with a meaning of their own in expressions."""

KEYWORDS = frozenset({*HEADS, *OPERATOR_WORDS, *UNIT_ENTRIES, *PHASES, "real", "integers"})
RESERVED = KEYWORDS | frozenset(FUNCTIONS) | frozenset(SCALARS)
"""No layer, size, parameter or unit type may have one of these names; an index may have a function's."""

RESERVED_INDICES = KEYWORDS | frozenset(SCALARS)
