"""Shares of epochs, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from supernet.methods.equal_parts import share_of


@pytest.mark.parametrize("hundredths", range(100))
def test_a_share_of_epochs_rounds_as_the_exact_fraction_does(hundredths):
    share, exact = hundredths / 100, Fraction(hundredths, 100)
    for epochs in range(1, 301):
        found = share_of(epochs, share)
        assert (math.floor(found), math.ceil(found)) == (math.floor(exact * epochs), math.ceil(exact * epochs))
