"""Where a job is: steps, epochs, and patience under `stop`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from pgmdsl.runtime.machine import Words
from pgmdsl.runtime.recipe import Patience


class Steps(ABC):
    """The clock of a job, which sets these attributes itself.

    Attributes:
        name: as shown: `fit`, `greedy h2`, `finetune classify`.
        words: what makes its random numbers its own: the numbers of its phase and stage.
        cases: how many there are.
        step: how many steps have been taken.
        steps: how many there are.
        steps_per_epoch: how many make an epoch.
        best_value: the best value of the metric of `stop` so far (greater is better).
        since_best: epochs since.
    """

    name: str
    words: Words
    cases: int
    step: int
    steps: int
    steps_per_epoch: int
    best_value: float | None
    since_best: int

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def epochs_begun(self) -> int:
        """How many epochs have had a step; the last one perhaps has not ended."""
        return -(-self.step // self.steps_per_epoch)

    @property
    def epochs(self) -> int:
        """How many epochs there are, the last one perhaps not a whole one."""
        return -(-self.steps // self.steps_per_epoch)

    @property
    @abstractmethod
    def patience(self) -> Patience | None:
        """The job's `stop`."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """Of the order of cases, and of all else that is drawn."""

    @abstractmethod
    def take_step(self, order: NDArray[Any]) -> None:
        """The next step, on the next cases of the epoch's order."""

    @abstractmethod
    def verify_finite(self) -> None:
        """Raise `Error` if training has diverged."""

    def batch(self, order: NDArray[Any]) -> NDArray[Any]:
        """The cases of the next step. Batches divide the epoch's order evenly, so that none is a mere remainder."""
        per, i = self.steps_per_epoch, self.step % self.steps_per_epoch
        return order[i * len(order) // per : (i + 1) * len(order) // per]

    @property
    def out_of_patience(self) -> bool:
        """Whether `stop` ends the job here."""
        return self.patience is not None and self.since_best >= self.patience.epochs

    @property
    def best_epoch(self) -> int:
        """Under `stop`, the epoch with the best value, counted from 1."""
        return self.epochs_begun - self.since_best
