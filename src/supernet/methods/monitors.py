"""The monitors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from supernet.methods.gradient_monitor import GradientMonitor
from supernet.methods.hessian_monitor import HessianMonitor
from supernet.methods.monitor import Monitor

MonitorName = Literal["gradients", "hessian"]

MONITORS: Mapping[MonitorName, type[Monitor]] = {"gradients": GradientMonitor, "hessian": HessianMonitor}
