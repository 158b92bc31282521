"""The kernels and plans of the fused engine, which computes the same as one operation after the other, but faster."""

from supernet.models.fused.compiler import library
from supernet.models.fused.terms import Normalisation, Term
from supernet.models.fused.weighted_sum import weighted_sums

__all__ = ["Normalisation", "Term", "library", "weighted_sums"]
