"""Kernels: what a fused cell computes with, exact like PyTorch's own operations and faster where those are slow."""

from supernet.kernels.convolutions import average, convolve, pair
from supernet.kernels.native import library
from supernet.kernels.sums import weighted_sums
from supernet.kernels.terms import Normal, Term

__all__ = ["Normal", "Term", "average", "convolve", "library", "pair", "weighted_sums"]
