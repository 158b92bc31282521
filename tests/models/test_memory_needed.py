"""Sizes that no memory holds are refused before anything of them is allocated."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import supernet as sn
from supernet.models.cost import memory
from supernet.models.cost.count import check_shapes
from supernet.models.cost.memory import check_memory
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace, space
from supernet.spaces.modules import Norm
from supernet.spaces.operations import Primitive
from supernet.testing import PairDataset, ragged_space, tiny_images

DATA = PairDataset(tiny_images(12))
SIZE = NetworkSize(8, 2)


def needed(monkeypatch, home, size=SIZE, **how):
    """Return the bytes that a network needs, as the check finds them."""
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: 0)
        patch.setattr(memory, "_text", lambda size: told.append(size) or "")
        with pytest.raises(sn.UserError):
            check_memory(home, size, **how)
    return told[0]


def forget():
    """Forget the sizes that are known: a test has changed how they are found."""
    memory._operation.cache_clear()
    memory._layer.cache_clear()


def held(module):
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


@pytest.mark.parametrize("home", [space("nasbench201"), space("darts"), ragged_space()], ids=lambda home: home.name)
def test_the_bound_is_below_the_weights_and_near_them(home, monkeypatch):
    genotype = home.sample(random.Random(0))
    monkeypatch.setattr(memory, "_MODULE", 0)
    forget()
    for module, chosen in ((Supernet(home, SIZE, Norm()), None), (Network(home, genotype, SIZE), genotype)):
        features = needed(monkeypatch, home, genotype=chosen, copies=0)
        found = needed(monkeypatch, home, genotype=chosen) - features
        assert 0.6 * held(module) < found <= held(module)
        assert needed(monkeypatch, home, genotype=chosen, copies=3) == 3 * found + features
        assert needed(monkeypatch, home, genotype=chosen, copies=0, images=5) == 5 * features
        assert needed(monkeypatch, home, genotype=chosen, together=False) - features < found
    forget()


def test_usual_sizes_are_not_built_for_the_check(monkeypatch):
    monkeypatch.setattr(memory, "_bytes", lambda build: pytest.fail("built"))
    monkeypatch.setattr(memory, "free_memory", lambda device: 8 * 10**9)
    forget()
    check_memory(space("nasbench201"), NetworkSize(16, 5), copies=3)
    monkeypatch.setattr(memory, "_bytes", lambda build: 0)
    with pytest.raises(sn.UserError, match="or a smaller batch size"):
        check_memory(space("nasbench201"), NetworkSize(16, 5), images=10**6)
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    check_memory(space("nasbench201"), NetworkSize(10**6, 5), copies=3)
    forget()


MISTAKES = [
    ({"width": 10**6}, "width 1000000 and depth 1 need at least "),
    ({"width": 10**23}, f"width {10**23} and depth 1 need at least 1,000,000 GB of memory, and "),
    ({"target_width": 10**6}, "width 1000000 and depth 5 need at least "),
    ({"depth": 10**6}, "setting depth must be at most 1000, not 1000000"),
    ({"target_depth": 10**6}, "setting depth must be at most 1000, not 1000000"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_a_search_that_no_memory_holds_is_refused_before_anything_is_written(settings, message, tmp_path):
    with pytest.raises(sn.UserError) as caught:
        sn.search(DATA, out=tmp_path / "run", device="cpu", quiet=True, **settings)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_networks_that_no_memory_holds_are_refused(tmp_path):
    genotype = space("nasbench201").sample(random.Random(0))
    with pytest.raises(sn.UserError, match=r"^width 1000000 .* need at least .* are free on cpu: take a smaller width"):
        sn.retrain(genotype, data=DATA, out=tmp_path / "run", device="cpu", quiet=True, width=10**6)
    with pytest.raises(sn.UserError, match=r"^width 1000000 and depth 5 need at least "):
        sn.build(genotype, width=10**6)


def test_a_shortage_in_the_check_of_shapes_reads_as_one():
    def build(cin, cout, stride, norm):
        if cout == 4:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return nn.Conv2d(cin, cout, 3, stride, 1)

    home = SearchSpace.chain("c", [(("own",), 1, 1)], (Primitive("own", build),))
    check_shapes(home, NetworkSize(2))
    told = r"^edge 1<-0 of cell '01': memory is too short for operation 'own' on 4 channels of 32x32 with 4 "
    with pytest.raises(sn.UserError, match=told):
        check_shapes(home, NetworkSize(4))


def test_an_operation_that_cannot_be_built_without_values_counts_nothing(monkeypatch):
    def build(cin, cout, stride, norm):
        return nn.Conv2d(cin, cout, int(torch.ones(1).item()), stride)

    home = SearchSpace.chain("c", [(("own",), 1, 1)], (Primitive("own", build),))
    assert needed(monkeypatch, home) > 0
