"""The controller of NAO: architectures as points of a continuous space, and from good ones to better ones.

Luo et al., NeurIPS 2018, arXiv 1808.07233; sizes and training as released for arXiv 1909.10815 (NAO-V2).
"""

from supernet.controller.controller import Controller, Generated
from supernet.controller.settings import ControllerSettings
from supernet.controller.training import Report

__all__ = ["Controller", "ControllerSettings", "Generated", "Report"]
