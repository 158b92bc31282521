"""Loggers: callbacks that also write a run's epochs where other programs look; each place is one small class."""

from __future__ import annotations

from importlib import import_module

from supernet.errors import UserError, unknown
from supernet.report.loggers.base import Logger

LOGGERS = {
    "csv": "csv_file:CsvFile",
    "tensorboard": "tensorboard:TensorBoard",
    "mlflow": "mlflow:MLflow",
    "wandb": "wandb:WeightsAndBiases",
}
"""The place of the class of each logger; all but csv need the extra of their name."""


def loggers(names: str) -> list[Logger]:
    """Return the loggers with these names, which have commas between them; none for an empty text.

    Raises UserError for an unknown name, and for a logger whose package is not installed.
    """
    wanted = dict.fromkeys(name.strip() for name in names.split(",")) if names.strip() else {}
    return [_logger(name) for name in wanted]


def _logger(name: str) -> Logger:
    if name not in LOGGERS:
        raise unknown("logger", name, LOGGERS)
    module, _, place = LOGGERS[name].partition(":")
    try:
        return Logger(name, getattr(import_module(f"supernet.report.loggers.{module}"), place))
    except ImportError:
        raise UserError(f"--log {name} needs the extra: pip install 'supernet[{name}]'") from None
