"""The memory and the passes of a search as they are forecast, and as they are, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import supernet as sn
from supernet.engine.files import read_json
from supernet.engine.peak_memory import peak_of_process


def arrays(count: int, side: int) -> tuple[Any, Any]:
    """Return noise in ten classes."""
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, side, side, 3), dtype=np.uint8), np.arange(count) % 10


def forecast(data: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is forecast."""
    found = sn.forecast(data, **settings)
    return {"bytes": found.process_bytes, "passes": found.step_passes * found.steps}


def search(data: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a search takes."""
    run = sn.search(data, **settings, quiet=True)
    peak = read_json(run.path / "environment.json")["peak_memory"]["process"]
    return {"bytes": peak, "passes": run.metrics[0]["forward_backward"]}


def apart(work: Callable[[Any, Mapping[str, Any]], dict[str, Any]], data: Any, settings: Mapping[str, Any]) -> Any:
    """Return the result of `work`, done in a copy of this process, which need not import everything again."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "w") as pipe:
            json.dump(work(data, settings), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return json.load(pipe)


def main() -> None:
    """Print the forecast, the search, and the memory before either as JSON."""
    settings = json.loads(sys.argv[1])
    data = arrays(settings.pop("images"), settings.pop("image_size"))
    sn.search, sn.forecast  # noqa: B018  imports all that both need
    found = {work.__name__: apart(work, data, settings) for work in (forecast, search)}
    print(json.dumps(found | {"before": peak_of_process()}))


if __name__ == "__main__":
    main()
