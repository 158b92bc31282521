"""How anything is run: devices, seeds, optimizers, worker processes, the run folder and the loop."""
