"""The settings of the allocator, with a mallopt that notes what it is given."""

from __future__ import annotations

import pytest

from supernet.engine import memory

TRIM, MMAP, LARGEST, OLD = -1, -3, 2**31 - 1, 32 * 2**20


@pytest.mark.parametrize(
    ("most", "taken"),
    [(LARGEST, [(MMAP, LARGEST), (TRIM, LARGEST)]), (OLD, [(MMAP, OLD), (TRIM, LARGEST)]), (0, [])],
    ids=["new", "old", "none"],
)
def test_tensors_are_not_mapped_anew_whatever_threshold_glibc_takes(
    most: int, taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        if name == MMAP and value > most:
            return 0
        settings.append((name, value))
        return 1

    monkeypatch.setattr(memory, "_of_glibc", {"mallopt": mallopt}.get)
    assert memory.keep_freed_memory() == bool(taken)
    assert settings == taken


def test_without_glibc_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_glibc", lambda _: None)
    assert not memory.keep_freed_memory()
