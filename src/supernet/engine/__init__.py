"""How tasks are run: the loop, run folders, optimizers, devices, precision, seeds, workers and measurements."""
