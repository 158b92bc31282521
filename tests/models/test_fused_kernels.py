"""The kernels against PyTorch's operations and autograd, in float64, and the conditions for the native ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from supernet.models.fused import Normalisation, Term, compiler, eager, library, native, weighted_sums
from supernet.models.fused.convolutions import convolve
from supernet.models.fused.pooling import AveragePool

needs_compiler = pytest.mark.skipif(library() is None, reason="there is no C compiler with OpenMP here")
each_backend = pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_compiler), "eager", "contiguous"])
each_norm = pytest.mark.parametrize("norm", ["plain", "batch", "untracked", "running"])
each_way = pytest.mark.parametrize("how", ["apart", "shared", "repeated"])
each_affine = pytest.mark.parametrize("affine", [True, False], ids=["affine", "not affine"])


@pytest.fixture
def chosen(backend, monkeypatch):
    """Run only the given backend, and return the memory format of its tensors."""
    ran = []
    for module, name in ((native, "native"), (eager, "eager")):
        inner = module.forward
        monkeypatch.setattr(module, "forward", lambda *a, _in=inner, _n=name, **k: (ran.append(_n), _in(*a, **k))[1])
    if backend != "native":
        monkeypatch.setattr(native, "usable", lambda *_, **__: False)
    yield torch.contiguous_format if backend == "contiguous" else torch.channels_last
    assert set(ran) <= {"native" if backend == "native" else "eager"}


def tensors(count, shape, layout, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    made = torch.randn(count, *shape, generator=g, dtype=torch.float64).to(dtype)
    return [one.contiguous(memory_format=layout).requires_grad_() for one in made]


def normalisation(norm, parts, width, affine, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def rows(low, high, learned=False):
        made = low + (high - low) * torch.rand(parts, width, generator=g, dtype=torch.float64)
        return tuple(row.clone().to(dtype).requires_grad_(learned) for row in made)

    if norm == "plain":
        return None
    running = None if norm == "untracked" else (rows(-1, 1), rows(0.5, 2))
    scales, shifts = (rows(-1, 2, True), rows(-1, 1, True)) if affine else (None, None)
    return Normalisation(norm != "running", 1e-5, 0.3, running, scales, shifts)


def laid_out(value, targets, how, norm=None):
    """A term whose parts are different tensors, all the same tensor, or pairwise the same ("repeated")."""
    parts = len(targets)
    slots = {"apart": range(parts), "shared": [0] * parts, "repeated": [j % -(-parts // 2) for j in range(parts)]}[how]
    return Term(value, max(slots) + 1, targets, tuple(slots), norm)


def term(norm, targets, how, width, layout, *, affine=True, seed=0, size=(3, 5, 7), dtype=torch.float64):
    """A term with a random value that has an odd number of rows."""
    channels = width * laid_out(None, targets, how).count
    (value,) = tensors(1, (size[0], channels, *size[1:]), layout, seed, dtype)
    return laid_out(value, targets, how, normalisation(norm, len(targets), width, affine, seed + 1, dtype))


def plainly(terms, weights, sums, joined=False):
    """The sums and the running statistics after `weighted_sums`, by PyTorch's operations."""
    totals, weights, running = list(sums), list(weights), []
    for one in terms:
        for j, (part, target) in enumerate(zip(one.parts(one.value), one.targets, strict=True)):
            if one.normalisation is not None:
                statistics = [rows[j].clone() for rows in one.normalisation.running or ()]
                running += statistics
                scale, shift = (rows and rows[j] for rows in (one.normalisation.scales, one.normalisation.shifts))
                settings = (one.normalisation.batch_statistics, one.normalisation.momentum, one.normalisation.eps)
                part = F.batch_norm(part, *(statistics or (None, None)), scale, shift, *settings)
            part = part * weights.pop(0)
            totals[target] = part if totals[target] is None else totals[target] + part
    return [torch.cat(totals, 1)] if joined else totals, running


def learned(terms):
    return [one.value for one in terms] + [
        row for one in terms if one.normalisation for row in one.normalisation.learned
    ]


def tracked(terms):
    found = [one.normalisation.running for one in terms if one.normalisation and one.normalisation.running]
    return [row for running in found for rows in zip(*running, strict=True) for row in rows]


def differentiated(totals, inputs):
    g = torch.Generator().manual_seed(9)
    slopes = [torch.randn(total.shape, generator=g, dtype=torch.float64).to(total.dtype) for total in totals]
    return torch.autograd.grad(totals, inputs, slopes)


def both(terms, sums=None, *, joined=False, seed=3):
    """Outputs, running statistics and gradients of `weighted_sums`, and the same by PyTorch's operations."""
    width = sum(len(one.targets) for one in terms)
    weights = torch.randn(width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = weights.to(torch.promote_types(terms[0].value.dtype, torch.float32)).requires_grad_()
    sums = sums or [None] * (1 + max(target for one in terms for target in one.targets))
    inputs = [weights, *learned(terms), *(total for total in sums if total is not None)]
    outs, running = plainly(terms, weights, sums, joined)
    wanted = [*outs, *running, *differentiated(outs, inputs)]
    begun = [None if total is None else total.clone() for total in sums]  # `weighted_sums` changes them in place
    outs = weighted_sums(terms, weights, begun, joined=joined)
    return [*outs, *tracked(terms), *differentiated(outs, inputs)], wanted


def assert_close(found, wanted, tolerance=1e-11):
    assert len(found) == len(wanted)
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.shape == b.shape
        gap = (a.double() - b.double()).abs().max().item()
        assert gap <= tolerance * max(1, b.double().abs().max().item()), f"number {number} is off by {gap}"


@each_backend
@each_norm
@each_affine
@each_way
def test_one_term_is_normalised_weighted_and_summed(chosen, norm, affine, how):
    for targets in ((0,), (0, 1, 2), (1, 0, 1)):
        assert_close(*both([term(norm, targets, how, 4, chosen, affine=affine)]))


@each_backend
@pytest.mark.parametrize(
    ("norm", "pack"),
    [*((norm, torch.Tensor.contiguous) for norm in ("plain", "batch", "running")), ("plain", torch.Tensor.double)],
    ids=["plain", "batch", "running", "double"],
)
def test_hooks_may_bring_saved_values_back_in_another_way(chosen, norm, pack):
    one = term(norm, (0, 1, 0), "apart", 8, chosen, dtype=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        assert_close(*both([one]), 1e-4)


@each_backend
@pytest.mark.parametrize("width", [1, 2, 3, 4, 8, 16, 24, 64])
def test_terms_of_all_kinds_add_up_at_any_width(chosen, width):
    ways = ["apart", "shared", "apart", "shared", "repeated", "repeated"]
    kinds = zip(["batch", "plain", "running", "untracked", "plain", "batch"], ways, strict=True)
    targets = [(0, 1), (1,), (1, 0, 1), (0, 2), (2, 2, 0), (1, 2, 0)]
    terms = [
        term(norm, own, how, width, chosen, affine=number % 3 != 2, seed=number)
        for number, ((norm, how), own) in enumerate(zip(kinds, targets, strict=True))
    ]
    assert_close(*both(terms))


@each_backend
@pytest.mark.parametrize("begun", [(True, True), (True, False), (False, True)])
def test_given_sums_are_added_to_in_place(chosen, begun):
    terms = [term("batch", (0, 1), "apart", 4, chosen), term("plain", (1, 0), "shared", 4, chosen, seed=5)]
    own = tensors(2, (3, 4, 5, 7), chosen, seed=7)
    found, wanted = both(terms, [total if there else None for total, there in zip(own, begun, strict=True)])
    assert_close(found, wanted)
    started = own[0].detach().clone()
    (out, _) = weighted_sums(terms, torch.ones(4, dtype=torch.float64), [started, None])
    assert out is started


@each_backend
def test_a_sum_without_a_part_stays_unchanged(chosen):
    terms = [term("batch", (0,), "shared", 4, chosen)]
    assert_close(*both(terms, tensors(2, (3, 4, 5, 7), chosen, seed=7)))


@each_backend
@each_affine
@each_norm
def test_joined_sums_lie_side_by_side(chosen, norm, affine):
    for parts in (1, 3):
        assert_close(*both([term(norm, tuple(range(parts)), "apart", 4, chosen, affine=affine)], joined=True))


@each_backend
def test_a_scale_without_a_shift(chosen):
    for how in ("apart", "shared", "repeated"):
        one = term("batch", (0, 1), how, 4, chosen)
        assert_close(*both([replace(one, normalisation=replace(one.normalisation, shifts=None))]))


@each_backend
@pytest.mark.parametrize("size", [(1, 1, 2), (2, 1, 1), (1, 1, 33), (7, 9, 11), (4, 8, 8)])
def test_few_rows_and_many(chosen, size):
    terms = [
        term("batch", (0, 1), "apart", 4, chosen, size=size),
        term("running", (0, 1), "shared", 4, chosen, size=size),
    ]
    assert_close(*both(terms), tolerance=1e-10)


@each_backend
@pytest.mark.parametrize("threads", [2, 3])
def test_several_threads_share_the_rows(chosen, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for size in ((1, 1, 2), (6, 9, 5)):  # fewer rows than threads, too
            terms = [
                term("batch", (0, 1), "apart", 8, chosen, size=size),
                term("plain", (1,), "shared", 8, chosen, size=size),
            ]
            assert_close(*both(terms), tolerance=1e-10)
    finally:
        torch.set_num_threads(before)


@each_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_large_mean_costs_no_accuracy(chosen, dtype):
    """The variance E[x^2] - E[x]^2 would lose (mean / std)^2 of its digits: all of float32's, half of float64's."""
    for how in ("apart", "shared", "repeated"):
        one = term("batch", (0, 1), how, 4, chosen)
        value = (one.value.detach() + 1e4).to(dtype)
        weights = torch.tensor([1.0, -2], dtype=dtype)
        rows = [
            tuple(row.detach().to(dtype) for row in rows)
            for rows in (one.normalisation.scales, one.normalisation.shifts)
        ]
        running = tuple(tuple(row.to(dtype) for row in rows) for rows in one.normalisation.running)
        settings = replace(one.normalisation, scales=rows[0], shifts=rows[1], running=running)
        exact = Normalisation(  # the same numbers in float64
            *(True, settings.eps, settings.momentum),
            tuple(tuple(row.double() for row in rows) for rows in running),
            *(tuple(row.double() for row in learned) for learned in rows),
        )
        wanted, after = plainly([laid_out(value.double(), (0, 1), how, exact)], weights.double(), [None, None])
        outs = weighted_sums([laid_out(value, (0, 1), how, settings)], weights, [None, None])
        assert_close(outs, wanted, 1e-10 if dtype == torch.float64 else 5e-3)  # float32 resolves 1e4 to 1e-3
        assert_close(
            tracked([laid_out(value, (0, 1), how, settings)]), after, 1e-10 if dtype == torch.float64 else 1e-3
        )


@each_backend
@each_way
def test_gradients_are_those_of_small_differences(chosen, how):
    one = term("untracked", (0, 1), how, 2, chosen, size=(2, 2, 2))
    started = tensors(1, (2, 2, 2, 2), chosen, seed=4)[0]
    weights = torch.tensor([0.7, -1.3], dtype=torch.float64, requires_grad=True)

    def run(value, weights, started, *rows):
        own = replace(one.normalisation, scales=rows[:2], shifts=rows[2:])
        value = value.contiguous(memory_format=chosen)
        begun = started.clone(memory_format=torch.preserve_format)
        return tuple(weighted_sums([laid_out(value, (0, 1), how, own)], weights, [begun, None]))

    torch.autograd.gradcheck(run, (one.value, weights, started, *one.normalisation.learned))


@each_backend
def test_only_tensors_that_require_a_gradient_get_one(chosen):
    fixed, free = (
        term("batch", (0,), "shared", 4, chosen, affine=False),
        term("batch", (0,), "shared", 4, chosen, seed=4),
    )
    fixed.value.requires_grad_(False)
    weights = torch.tensor([1.0, 2], dtype=torch.float64)
    (out,) = weighted_sums([fixed, free], weights, [None])
    out.square().sum().backward()
    assert fixed.value.grad is None
    assert weights.grad is None
    assert free.value.grad is not None
    assert not weighted_sums([fixed], weights[:1], [None])[0].requires_grad
    with torch.no_grad():
        assert not weighted_sums([free], weights[:1], [None])[0].requires_grad


@each_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_bit_identical_from_call_to_call(chosen, dtype):
    def once():
        terms = [
            term("batch", (0, 1), "apart", 16, chosen, size=(8, 9, 9), dtype=dtype),
            term("batch", (1, 0), "shared", 16, chosen, size=(8, 9, 9), seed=4, dtype=dtype),
        ]
        return both(terms)[0]

    assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))


@each_backend
def test_float32_is_close(chosen):
    terms = [
        term("batch", (0, 1), "apart", 8, chosen, dtype=torch.float32),
        term("plain", (1,), "shared", 8, chosen, seed=3),
    ]
    terms[1] = replace(terms[1], value=terms[1].value.detach().float().requires_grad_())
    found, wanted = both(terms)
    assert all(one.dtype == torch.float32 for one in found)
    assert_close(found, wanted, 1e-4)


@pytest.mark.parametrize("backend", ["eager"])
def test_bfloat16_is_close_to_float32(chosen, monkeypatch):
    exact = [term("batch", (0, 1), "apart", 8, chosen), term("plain", (1,), "shared", 8, chosen, seed=3)]
    exact.append(term("running", (0, 1), "shared", 8, chosen, seed=6))
    terms = [
        replace(
            one,
            value=one.value.detach().bfloat16().requires_grad_(),
            normalisation=one.normalisation
            and replace(
                one.normalisation,
                running=tuple(tuple(row.float() for row in rows) for rows in one.normalisation.running),
                scales=tuple(row.detach().float().requires_grad_() for row in one.normalisation.scales),
                shifts=tuple(row.detach().float().requires_grad_() for row in one.normalisation.shifts),
            ),
        )
        for one in exact
    ]
    weights = torch.tensor([1.0, -0.7, 0.3, 0.5, -1.2], requires_grad=True)
    outs, running = plainly(exact, weights.double(), [None, None])
    wanted = [*outs, *running, *differentiated(outs, [*learned(exact), weights])]
    outs = weighted_sums(terms, weights, [None, None])
    assert {out.dtype for out in outs} == {torch.bfloat16}
    found = [*outs, *tracked(terms), *differentiated(outs, [*learned(terms), weights])]
    assert_close(found, wanted, 0.03)


@each_backend
def test_nan_stays_nan(chosen):
    one = term("batch", (0,), "shared", 4, chosen)
    with torch.no_grad():
        one.value[0, 1, 0, 0] = torch.nan
    (out,) = weighted_sums([one], torch.ones(1, dtype=torch.float64), [None])
    for found in (out.isnan().any(3).any(2).any(0), *(row.isnan() for row in tracked([one]))):
        assert found.tolist() == [False, True, False, False]


# Convolutions

CONVOLUTIONS = [
    (kernel, stride, dilation)
    for kernel in ((3, 3), (5, 5), (3, 5), (5, 3), (1, 1))
    for stride in ((1, 1), (2, 2), (1, 2))
    for dilation in ((1, 1), (2, 2), (1, 2), (2, 1), (3, 3))
    if not (kernel == (1, 1) and stride != (1, 1))
]
each_layout = pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
each_size = pytest.mark.parametrize("size", [(9, 7), (8, 8), (5, 6)], ids=lambda size: "x".join(map(str, size)))


def compare(found, wanted, inputs):
    assert_close([found], [wanted])
    assert_close(differentiated([found], inputs), differentiated([wanted], inputs))


@each_layout
@each_size
def test_depthwise_convolutions_are_pytorchs(layout, size):
    for kernel, stride, dilation in CONVOLUTIONS:
        same = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        for padding in {same, (0, 0), (same[0], 1)}:
            if any(s + 2 * p < d * (k - 1) + 1 for s, p, d, k in zip(size, padding, dilation, kernel, strict=True)):
                continue
            (x,) = tensors(1, (2, 4, *size), layout)
            (weight,) = tensors(1, (4, 1, *kernel), torch.contiguous_format, seed=1)
            found = convolve(x, weight, None, stride, padding, dilation, 4)
            compare(found, F.conv2d(x, weight, None, stride, padding, dilation, 4), [x, weight])


@each_layout
@pytest.mark.parametrize(("kernel", "dilation", "padding"), [(2, 2, 1), (4, 2, 3), (2, 1, 1), (6, 2, 5), (4, 2, 2)])
def test_depthwise_convolutions_with_an_even_kernel_are_pytorchs(layout, kernel, dilation, padding):
    (x,) = tensors(1, (2, 4, 9, 7), layout)
    (weight,) = tensors(1, (4, 1, kernel, kernel), torch.contiguous_format, seed=1)
    for stride in (1, 2):
        pairs = [(value, value) for value in (stride, padding, dilation)]
        compare(convolve(x, weight, None, *pairs, 4), F.conv2d(x, weight, None, *pairs, 4), [x, weight])


@each_layout
@pytest.mark.parametrize(("groups", "cout", "biased"), [(1, 6, True), (1, 4, False), (2, 6, True), (4, 8, False)])
def test_other_convolutions_are_pytorchs(layout, groups, cout, biased):
    (x,) = tensors(1, (2, 4, 9, 7), layout)
    (weight,) = tensors(1, (cout, 4 // groups, 3, 3), torch.contiguous_format, seed=1)
    bias = torch.randn(cout, dtype=torch.float64, requires_grad=True) if biased else None
    inputs = [x, weight, *([bias] if biased else [])]
    for stride, dilation in ((1, 1), (2, 1), (1, 2), (2, 2)):
        pairs = [(value, value) for value in (stride, dilation, dilation)]
        compare(convolve(x, weight, bias, *pairs, groups), F.conv2d(x, weight, bias, *pairs, groups), inputs)


@each_layout
def test_a_depthwise_convolution_with_a_bias_is_pytorchs(layout):
    (x,) = tensors(1, (2, 4, 9, 7), layout)
    weight, bias = tensors(1, (4, 1, 5, 5), torch.contiguous_format, 1)[0], torch.ones(4, dtype=torch.float64)
    pairs = (1, 1), (2, 2), (1, 1)
    compare(convolve(x, weight, bias, *pairs, 4), F.conv2d(x, weight, bias, *pairs, 4), [x, weight])


@pytest.mark.parametrize("wanted", ["x", "weight"])
def test_one_gradient_of_a_depthwise_convolution_alone(wanted):
    (x,) = tensors(1, (2, 4, 9, 7), torch.channels_last)
    (weight,) = tensors(1, (4, 1, 5, 5), torch.contiguous_format, seed=1)
    (weight if wanted == "x" else x).requires_grad_(False)
    pairs = (1, 1), (2, 2), (1, 1)
    own = [x if wanted == "x" else weight]
    compare(convolve(x, weight, None, *pairs, 4), F.conv2d(x, weight, None, *pairs, 4), own)


# Conditions for the native kernels


@pytest.fixture
def fresh():
    """The compiler is looked for anew in the test, and again after it."""
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.fixture
def place(tmp_path, monkeypatch, fresh):
    """The empty folder of the compiled kernels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "supernet"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A copy of the compiled library."""
    return shutil.copy(library()._name, tmp_path_factory.mktemp("compiled") / "kernels.so")


@pytest.fixture
def quick(tmp_path, monkeypatch, compiled, fresh):
    """A compiler that copies the library in place of compiling it."""
    copies = f'while [ "$1" != -o ]; do shift; done; cp {compiled} "$2"'
    text = f'case "$1" in --version) echo 1.0;; *) {copies};; esac'
    monkeypatch.setenv("CC", program(tmp_path / "compiler", text))


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def falls_back():
    assert library() is None
    one = term("batch", (0, 1), "apart", 4, torch.channels_last)
    assert not fits(one.value)
    assert_close(*both([one]))
    return True


def fits(*values):
    """Whether the native kernels can run these values, each a term of one part."""
    return native.usable([Term(value, 1, (0,), (0,)) for value in values], values, [])


@pytest.mark.usefixtures("place")
def test_without_a_compiler_the_eager_kernels_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert falls_back()


def compilers():
    yield "fails", "exit 1"
    yield "knows no OpenMP", 'case "$*" in *--version*) echo 1.0;; *) echo "unsupported -fopenmp" >&2; exit 1;; esac'
    yield "makes nothing", "exit 0"
    yield "makes rubbish", 'while [ "$1" != -o ] && [ $# -gt 0 ]; do shift; done; [ $# = 0 ] || echo no > "$2"'


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in compilers()])
def test_with_a_compiler_that_fails_the_eager_kernels_run(text, tmp_path, monkeypatch, place):
    monkeypatch.setenv("CC", program(tmp_path / "compiler", text))
    assert falls_back()
    assert not list(place.glob("*"))


@pytest.mark.usefixtures("place")
def test_with_a_missing_compiler_the_eager_kernels_run(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(tmp_path / "nothing"))
    assert falls_back()


def test_the_native_kernels_can_be_switched_off(monkeypatch, place):
    monkeypatch.setenv("SUPERNET_NATIVE", "0")
    assert falls_back()
    assert not place.exists()


def compiled_elsewhere(folder):
    """Whether the kernels are there, and not in this folder."""
    one = term("batch", (0, 1), "apart", 4, torch.channels_last)
    assert_close(*both([one]))
    return library() is not None and not Path(library()._name).is_relative_to(folder)


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_without_a_folder_for_the_library_it_is_compiled_for_this_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled_elsewhere(tmp_path)


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_without_a_home_folder_the_library_is_compiled_for_this_process(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert compiled_elsewhere(Path("~").expanduser())


@needs_compiler
@pytest.mark.parametrize("kind", ["folder", "link", "file", "linked file", "owner"])
@pytest.mark.usefixtures("quick")
def test_a_library_that_somebody_else_could_have_written_is_not_loaded(kind, tmp_path, place):
    assert library() is not None
    (file,) = place.iterdir()
    library.cache_clear()
    if kind == "folder":
        place.chmod(0o777)
    elif kind == "link":
        place.rename(tmp_path / "planted")
        place.symlink_to(tmp_path / "planted")
    elif kind == "file":
        file.chmod(0o666)
    elif kind == "linked file":
        file.rename(tmp_path / "planted.so")
        file.symlink_to(tmp_path / "planted.so")
    else:
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        os.chown(place, 12345, -1)
    replaced = kind in ("file", "linked file")  # by a new one, compiled into the folder
    before = file.lstat().st_ino
    assert compiled_elsewhere(place) != replaced
    assert (file.lstat().st_ino != before) == replaced
    assert not file.is_symlink()


@needs_compiler
@pytest.mark.parametrize("damage", [lambda content: content[:5000], lambda content: b"", lambda c: c[:-9] + bytes(9)])
@pytest.mark.usefixtures("quick")
def test_a_damaged_library_is_compiled_again(damage, place):
    assert library() is not None
    (file,) = place.iterdir()
    content = file.read_bytes()
    file.unlink()  # the process has it in memory
    file.write_bytes(damage(content))
    library.cache_clear()
    assert library() is not None
    assert file.read_bytes() == content


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_machine_without_a_compiler_finds_the_library(tmp_path, monkeypatch, place):
    assert library() is not None
    library.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert library() is not None
    assert Path(library()._name).parent == place
    assert (place.stat().st_mode & 0o777, len(list(place.iterdir()))) == (0o700, 1)


@needs_compiler
@pytest.mark.usefixtures("place", "quick")
def test_another_processor_has_a_library_of_its_own(monkeypatch):
    first = library()._name
    library.cache_clear()
    monkeypatch.setattr(compiler, "_processor", lambda: "flags: fewer")
    assert library()._name != first


@pytest.mark.slow
@needs_compiler
def test_the_compiled_library_is_kept_and_used_again(monkeypatch, place):
    commands, run = [], subprocess.run

    def noted(command, **settings):
        commands.append(command)
        return run(command, **settings)

    monkeypatch.setattr(subprocess, "run", noted)
    assert library() is not None
    assert any("-shared" in command for command in commands)
    (file,) = place.iterdir()  # the only file
    assert file.suffix == ".so"
    before = file.stat().st_mtime_ns
    library.cache_clear()
    commands.clear()
    assert library() is not None
    assert not any("-shared" in command for command in commands)
    assert file.stat().st_mtime_ns == before
    assert_close(*both([term("batch", (0, 1), "apart", 4, torch.channels_last)]))


@needs_compiler
def test_every_compiler_has_a_library_of_its_own(tmp_path, monkeypatch, fresh):
    compiled = library()._name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, count in (("one", 1), ("another", 2), ("one", 2)):  # both copy the library in place of compiling it
        copies = f'while [ "$1" != -o ]; do shift; done; cp {compiled} "$2"'
        text = f'case "$1" in --version) echo {name} 1.0;; *) {copies};; esac'
        monkeypatch.setenv("CC", program(tmp_path / "compiler", text))
        library.cache_clear()
        assert library() is not None
        assert len(list((tmp_path / "supernet").iterdir())) == count


@needs_compiler
def test_which_tensors_the_native_kernels_take():
    (x,) = tensors(1, (2, 4, 3, 5), torch.channels_last)
    assert fits(x)
    assert fits(x.float())
    assert not fits(x, x.float())
    assert not fits(x.bfloat16())
    assert not fits(x.contiguous())
    assert not fits(x, x[:, :2])


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(
    channels=st.sampled_from([1, 3, 8, 16]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    counted=st.booleans(),
)
def test_average_pooling_has_the_bits_of_pytorch(dtype, channels, size, kernel, stride, counted):
    padding = tuple(k // 2 for k in kernel)
    assume(all(n + 2 * p >= k for n, p, k in zip(size, padding, kernel, strict=True)))
    leaf = torch.nn.AvgPool2d(kernel, stride, padding, count_include_pad=counted)
    (x,) = tensors(1, (2, channels, *size), torch.channels_last, dtype=dtype)
    wanted, found = leaf(x), AveragePool(leaf)(x)
    assert "_Average" in type(found.grad_fn).__name__
    assert torch.equal(found, wanted)
    g = torch.randn(found.shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    assert torch.equal(*(torch.autograd.grad(out, x, g)[0] for out in (found, wanted)))


@needs_compiler
def test_average_pooling_has_all_derivatives():
    pool = AveragePool(torch.nn.AvgPool2d((3, 2), (1, 2), 1, count_include_pad=False))
    (x,) = tensors(1, (2, 2, 4, 5), torch.channels_last)
    torch.autograd.gradcheck(lambda x: pool(x).square(), x)
    torch.autograd.gradgradcheck(lambda x: pool(x).square(), x)


def test_average_pooling_that_the_kernel_cannot_run_is_left_to_the_module():
    (x,) = tensors(1, (2, 2, 5, 5), torch.channels_last)
    for leaf, value in [
        (torch.nn.AvgPool2d(2, ceil_mode=True), x),
        (torch.nn.AvgPool2d(2, divisor_override=3), x),
        (torch.nn.AvgPool2d(3, 1, 1), x.contiguous()),
        (torch.nn.AvgPool2d(3, 1, 1), x.bfloat16()),
    ]:
        assert "AvgPool2D" in type(AveragePool(leaf)(value).grad_fn).__name__
    with pytest.raises(RuntimeError, match="too small"):
        AveragePool(torch.nn.AvgPool2d(7))(x)
    with pytest.raises(RuntimeError, match="half of"):
        AveragePool(torch.nn.AvgPool2d(2, 1, padding=2))(x)
