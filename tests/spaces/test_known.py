"""Published architectures by name: wherever an architecture is taken, and against the papers' numbers."""

from __future__ import annotations

import pytest

import supernet as sn
from supernet.errors import UserError
from supernet.models.cost.count import auxiliary_cost, cost
from supernet.retraining.recipes import RECIPES
from supernet.retraining.searched import search_of
from supernet.spaces import SPACES, NetworkSize, architecture
from supernet.spaces.known import known

CIFAR, IMAGENET = NetworkSize(36, 6), NetworkSize(48, 4, (224, 224), classes=1000)
COUNTED = [entry for entry in known().values() if entry.name != "DARTS_V1"]  # 3.169 M, for which the paper prints 3.3
each = pytest.mark.parametrize("entry", known().values(), ids=lambda entry: entry.name)


@each
def test_a_name_is_read_wherever_an_architecture_is(entry):
    home, genotype = architecture(f" {entry.name}\n")
    assert (home.name, genotype) == (entry.space, SPACES[entry.space].parse(entry.architecture))
    assert home.parse(str(genotype)) == genotype
    assert SPACES[entry.space].parse(entry.name) == architecture(entry.name, entry.space)[1] == genotype
    assert search_of(entry.name) is None  # `retrain` takes it for no folder
    assert set(entry.recipes) <= set(RECIPES)
    assert entry.source.startswith("github.com/")


def test_a_name_is_built_and_fits_other_spaces_that_have_its_operations():
    assert sn.build("DARTS_V2", width=2, depth=1).genotype == architecture("DARTS_V2")[1]
    assert SPACES["darts7"].parse("DARTS_V2").cells == architecture("DARTS_V2")[1].cells
    with pytest.raises(UserError, match="has cells cell; got normal, reduce"):
        SPACES["nasbench201"].parse("DARTS_V2")


def test_a_file_of_the_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DARTS_V1").write_text("DARTS_V2")
    assert architecture("DARTS_V1") == architecture("DARTS_V2")


@pytest.mark.parametrize(("text", "near"), [("darts_v2", "DARTS_V2"), ("PCDARTS_cifar", "PC_DARTS_cifar")])
def test_a_misspelt_name_is_answered_by_the_nearest(text, near):
    with pytest.raises(UserError, match=f"^cannot read architecture '{text}': did you mean '{near}'[?] Else expected"):
        architecture(text)
    with pytest.raises(UserError, match=f"^'{text}' is no run folder: did you mean '{near}'[?] Else give that of a"):
        search_of(text)


@pytest.mark.parametrize("entry", COUNTED, ids=lambda entry: entry.name)
def test_parameters_are_the_published_ones(entry):
    """Within what one digit after the point leaves open; some papers cut digits off instead of rounding."""
    home, genotype = architecture(entry.name)
    for size, published in ((CIFAR, entry.cifar_params_m), (IMAGENET, entry.imagenet_params_m)):
        assert published is None or abs(cost(home, genotype, size).params / 1e6 - published) < 0.06


@pytest.mark.parametrize(
    ("name", "size", "plain", "auxiliary"),
    [
        ("DARTS_V1", CIFAR, "3.169", "3.646"),
        ("DARTS_V2", CIFAR, "3.349", "3.826"),
        ("DARTS_V1", IMAGENET, "4.510", None),
        ("DARTS_V2", IMAGENET, "4.719", None),
        ("darts_pt_s5_0", CIFAR, "2.851", None),
        ("NAONet_V2_imagenet", CIFAR, "4.388", None),
        ("NAONet_V2_imagenet", NetworkSize(20, 3), "0.801", None),
    ],
)
def test_parameters_are_those_that_others_counted(name, size, plain, auxiliary):
    home, genotype = architecture(name)
    found = cost(home, genotype, size).params
    assert f"{found / 1e6:.3f}" == plain
    if auxiliary is not None:
        assert f"{(found + auxiliary_cost(home, size, genotype).params) / 1e6:.3f}" == auxiliary
