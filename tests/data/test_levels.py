"""The mapping of values of more than 8 bits to pixels, and the limit on the memory of reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from supernet.data import limits
from supernet.data.levels import FULL, levels_of, to_bytes
from supernet.data.limits import check_size
from supernet.errors import UserError


@given(arrays(np.uint16, (4, 5)), st.integers(0, 65535), st.integers(0, 65535))
def test_values_are_scaled_rounded_and_clipped(values: np.ndarray, a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    found = to_bytes(values, (low, high))
    assert (found.dtype, found.shape) == (np.uint8, values.shape)
    for value, pixel in zip(values.ravel().tolist(), found.ravel().tolist(), strict=True):
        assert pixel == (0 if low == high else min(max(round((value - low) * 255 / (high - low)), 0), 255))


def test_values_that_span_half_of_16_bits_or_more_are_read_as_all_16() -> None:
    assert levels_of(7, 6 + 2**15) == (7, 6 + 2**15)
    assert levels_of(7, 7 + 2**15) == FULL


def refused(needed: int) -> str | None:
    try:
        check_size(needed, "x_train of 'some.npz'")
    except UserError as error:
        return str(error)
    return None


def test_the_limit_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_MEMORY_GB", "0.5")
    advice = "give fewer or smaller images, or set SUPERNET_MEMORY_GB to a larger number"
    assert refused(500_000_000) is None
    assert refused(500_000_001) == (
        f"x_train of 'some.npz' needs 0.5 GB of memory, but SUPERNET_MEMORY_GB allows 0.5 GB: {advice}"
    )
    assert refused(58 * 10**12) == (
        f"x_train of 'some.npz' needs 58,000 GB of memory, but SUPERNET_MEMORY_GB allows 0.5 GB: {advice}"
    )


@pytest.mark.parametrize("text", ["many", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_no_positive_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_MEMORY_GB", text)
    assert refused(1) == f"SUPERNET_MEMORY_GB must be a number of gigabytes above 0, not '{text}'"


@pytest.mark.parametrize(("free", "allowed"), [(10**9, 800_000_000), (None, 8 * 10**9), (0, 0)])
def test_the_limit_without_a_variable(free: int | None, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERNET_MEMORY_GB", raising=False)
    monkeypatch.setattr(limits, "free_bytes", lambda: free)
    assert refused(allowed) is None
    assert "but the free memory allows" in str(refused(allowed + 1))
