"""What runs give by name: samples of chains, for xarray and ArviZ, with how they mixed; means; gauged parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgmdsl.grammar.diagnostics import Error

if TYPE_CHECKING:
    from pgmdsl.runtime.estimators.diagnostics import Mixing

Array = NDArray[Any]


class Samples(dict[str, Array]):
    """Samples by layer, arrays (chains, draws, *dims)."""

    @property
    def _axes(self) -> dict[str, list[str]]:
        return {n: [f"{n}_{k}" for k in range(x.ndim - 2)] for n, x in self.items()}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with dimensions chain, draw and, of each layer, its axes (v_0, v_1, ...).

        Raises:
            Error: xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise Error("to_xarray needs the package xarray: pip install xarray") from None
        axes = self._axes
        return xarray.Dataset({n: (["chain", "draw", *axes[n]], x) for n, x in self.items()})

    def to_arviz(self) -> Any:
        """What the installed ArviZ works with: an `InferenceData` (0.x) or an `xarray.DataTree` (1.x), group posterior.

        Raises:
            Error: ArviZ is not installed.
        """
        try:
            import arviz
        except ImportError:
            raise Error("to_arviz needs the package arviz: pip install 'pgmdsl[arviz]'") from None
        axes = self._axes
        if int(arviz.__version__.partition(".")[0]) >= 1:
            return arviz.from_dict({"posterior": dict(self)}, dims=axes)
        return arviz.from_dict(posterior=dict(self), dims=axes)

    def mixing(self) -> dict[str, Mixing]:
        """By layer, R-hat and effective sample size of its mean state; NaN with fewer than 4 draws a chain."""
        from pgmdsl.runtime.estimators.diagnostics import mixing

        means = {n: x.reshape(*x.shape[:2], -1).mean(axis=2, dtype=np.float64) for n, x in self.items()}
        return {n: mixing(x) for n, x in means.items()}


class Means(dict[str, Array]):
    """Posterior means by layer; `exact` says whether they are, `how` in words: exact, mean field, pass up."""

    exact: bool = False
    how: str = "exact"


class Gauged(dict[str, Array]):
    """Parameters by name; `left` says, a sentence each, what could not be brought into the gauge."""

    left: tuple[str, ...] = ()
