"""The schedule of NAO: the epochs of every iteration, followed by those of standalone training."""

from __future__ import annotations

from supernet.errors import UserError
from supernet.methods.equal_parts import position, start_of
from supernet.methods.nao.config import NAOConfig


class Schedule:
    """Shares `epochs` among the iterations; raises UserError if there are too few.

    `starts`: the first epoch of every iteration, and of standalone training.
    """

    def __init__(self, config: NAOConfig, epochs: int) -> None:
        self.config, shared = config, epochs - config.final * config.final_epochs
        if shared < config.iterations:
            raise UserError(
                f"epochs ({epochs}) must be at least {config.iterations} for the iterations and "
                f"{config.final} x {config.final_epochs} for standalone training at the end: "
                "set epochs, iterations, final or final-epochs"
            )
        self.starts = [start_of(number, shared, config.iterations) for number in range(config.iterations + 1)]

    def is_standalone(self, epoch: int) -> bool:
        """Return whether an epoch belongs to standalone training."""
        return epoch >= self.starts[-1]

    def standalone_epoch(self, epoch: int) -> int:
        """Return the number of an epoch in the standalone training of one network."""
        return (epoch - self.starts[-1]) % self.config.final_epochs

    def position(self, epoch: int) -> tuple[int, int, int]:
        """Return the iteration of an epoch, the number of the epoch in its iteration, and the iteration's length."""
        return position(epoch, self.starts[-1], self.config.iterations)
