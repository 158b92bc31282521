"""Kernels: what a fused cell computes with, exact like PyTorch's own operations and faster where those are slow."""

from supernet.models.fused.convolutions import average, convolve, pair
from supernet.models.fused.native import library
from supernet.models.fused.terms import Normal, Term
from supernet.models.fused.weighted_sum import weighted_sums

__all__ = ["Normal", "Term", "average", "convolve", "library", "pair", "weighted_sums"]
