"""BLAS on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it BLAS uses one thread: sums keep their order, so results do not depend on the number of cores."""
    import scipy.linalg.blas  # noqa: F401  the library whose threads are limited has to be loaded
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1, user_api="blas"):
        yield
