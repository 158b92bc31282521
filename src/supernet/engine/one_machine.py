"""How processes on one machine find each other without a port that others could reach: torchrun opens one for all."""

from __future__ import annotations

import os
import socket

from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

NAME = "supernet-one-machine"


class OneMachine(RendezvousHandler):
    """The rendezvous of a single launcher, which meets nobody; its processes meet in the file of `process_group`."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._store = HashStore()

    def get_backend(self) -> str:
        """Return the name under which it is registered."""
        return NAME

    def next_rendezvous(self) -> RendezvousInfo:
        """Return a group of this launcher alone."""
        return RendezvousInfo(self._store, 0, 1, RendezvousStoreInfo("localhost", 0))

    def is_closed(self) -> bool:
        """Return False: nobody else closes it."""
        return False

    def set_closed(self) -> None:
        """Do nothing: nobody waits for it."""

    def num_nodes_waiting(self) -> int:
        """Return 0: nobody else comes."""
        return 0

    def get_run_id(self) -> str:
        """Return a name for messages."""
        return "supernet"

    def shutdown(self) -> bool:
        """Return True: nothing is open."""
        return True


def on_loopback() -> None:
    """Register `OneMachine`, and let gloo, in processes started from here, listen on the loopback address alone."""
    rendezvous_handler_registry.register(NAME, OneMachine)
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
