"""WarmUp: gradient search in which the weights learn alone for some epochs, as in PC-DARTS and in P-DARTS' stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from supernet.data import Batch
from supernet.methods.differentiable import Differentiable


class WarmUp(Differentiable):
    """Learns alphas by gradient in the epochs for which `begin_epoch` of the subclass sets `learns`."""

    learns: bool = True  # the architecture, too

    @property
    def warms_up(self) -> bool:
        """Whether there are epochs without the architecture."""
        return bool(getattr(self.config, "warmup", True))  # a subclass of one's own may call its share otherwise

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take a step of the architecture and the weights, or of the weights alone."""
        if self.learns:
            return super().step(batches)
        return self.train_weights(batches)

    def state_dict(self) -> dict[str, Any]:
        """Add whether the architecture learns."""
        return super().state_dict() | {"learns": self.learns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.learns = state["learns"]
