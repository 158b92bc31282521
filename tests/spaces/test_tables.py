"""The table of NAS-Bench-201: published values, ranks, the order of architectures, and the packed file."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import pickle
import runpy
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables import load
from supernet.spaces.tables.entry import dataset_of, holds
from supernet.spaces.tables.nasbench201 import EDGES, OPS

ACCURACIES = [f"{dataset}_{split}" for dataset in ("c10", "c100", "in16") for split in ("valid", "test")]
SCRIPT = Path(__file__).parents[2] / "scripts" / "pack_nasbench201.py"
TABLE = load("nasbench201")


def genotype(digits, space="nasbench201"):
    return Genotype.of(space, {"cell": [(*edge, OPS[int(d)]) for edge, d in zip(EDGES, digits, strict=True)]})


@pytest.mark.parametrize(
    ("index", "digits", "accuracies", "params"),
    [
        (9930, "333133", (91.55, 94.36, 73.49, 73.51, 46.37, 46.34), 1.288506),
        (6111, "333132", (91.61, 94.37, 72.75, 73.22, 45.56, 46.71), 1.073466),
        (13714, "333123", (91.50, 94.37, 73.31, 73.09, 45.59, 46.33), 1.073466),
        (1317, "333102", (91.37, 94.09, 72.64, 72.57, 45.46, 45.63), 0.8304),
        (11351, "313113", (90.51, 93.62, 70.43, 70.10, 44.23, 44.57), 0.8024),
        (13176, "113111", (75.21, 80.57, 47.51, 47.93, 27.79, 26.29), 0.3163),
        (1835, "111111", (39.77, 54.30, 15.03, 15.61, 16.43, 16.32), 0.073306),
        (11472, "303101", (90.86, 93.91, 70.50, 70.89, 44.10, 44.23), 0.559386),
    ],
)
def test_named_architectures(index, digits, accuracies, params):
    assert TABLE.index(genotype(digits)) == index
    row = TABLE.row(index)
    assert [row[field] for field in ACCURACIES] == pytest.approx(accuracies, abs=0.0051)
    assert row["c10_params_m"] == pytest.approx(params, abs=5.1e-5)


@pytest.mark.parametrize(
    ("field", "index", "value"),
    [
        ("c10_valid", 6111, 91.60667),
        ("c10_test", 6111, 94.37333),
        ("c100_valid", 9930, 73.49333),
        ("c100_test", 9930, 73.51333),
        ("in16_valid", 10676, 46.73333),
        ("in16_test", 857, 47.31111),
        ("c10_valid_12", 13714, 84.892),
    ],
)
def test_optima(field, index, value):
    assert TABLE.best(field) == index
    assert TABLE.column(field)[index] == value
    assert TABLE.rank(field, index) == 1


@pytest.mark.parametrize("field", ["c10_flops_m", "c100_params_m", "in16_train_time_s", "energy_edgegpu_mj"])
def test_the_best_cost_is_the_lowest(field):
    assert TABLE.column(field)[TABLE.best(field)] == np.nanmin(TABLE.column(field))


def test_ranks_of_the_single_darts_architecture():
    assert TABLE.rank("c10_test", 9930) == 3
    assert TABLE.rank("c100_test", 9930) == 1
    assert TABLE.rank("in16_test", 9930) == 26


def test_equals_share_the_best_rank():
    assert TABLE.column("c10_test")[6111] == TABLE.column("c10_test")[13714]
    assert TABLE.rank("c10_test", 13714) == 1


def test_rank_agrees_with_a_plain_count():
    values = TABLE.column("in16_valid").tolist()
    for index in range(0, len(TABLE), 1500):
        assert TABLE.rank("in16_valid", index) == 1 + sum(value > values[index] for value in values)


@pytest.mark.parametrize(
    ("field", "mean", "std"), [("c10_test", 87.06, 12.94), ("c100_test", 61.41, 12.17), ("in16_test", 33.59, 9.51)]
)
def test_whole_space(field, mean, std):
    assert TABLE.column(field).mean() == pytest.approx(mean, abs=0.0051)
    assert TABLE.column(field).std(ddof=1) == pytest.approx(std, abs=0.0051)


def test_classes_costs_and_short_trainings():
    row = TABLE.row(9930)
    assert len(np.unique(TABLE.column("iso_rep"))) == 6466
    assert [TABLE.column("c10_flops_m")[i] for i in (0, 6111, 10676)] == pytest.approx(
        [15.647, 153.273, 121.816], abs=6e-4
    )
    assert (row["c10_params_m"], row["c100_params_m"], row["in16_params_m"]) == (1.288506, 1.294356, 1.295656)
    assert (row["c10_test_12"], row["c100_test_12"]) == (88.66, 61.12)
    assert row["in16_test_12"] == pytest.approx(37.87, abs=0.0051)
    assert TABLE.row(1835)["c10_test_12"] == 36.84


@pytest.fixture(scope="module")
def genotypes():
    return [TABLE.genotype(index) for index in range(len(TABLE))]


@pytest.fixture(scope="module")
def texts(genotypes):
    return tuple(map(str, genotypes))


def test_the_order_is_that_of_the_benchmark(genotypes, texts):
    assert hashlib.md5("\n".join(texts).encode()).hexdigest() == "1985aacc268bf045d31ddeecaaac0dc0"
    assert [TABLE.index(genotype) for genotype in genotypes] == list(range(15625))


def test_the_name_of_the_space_does_not_matter():
    assert TABLE.index(genotype("111111", space="mine")) == 1835


def test_summary():
    entry = TABLE.summary(9930)
    assert (entry.table, entry.index, entry.total, entry.seeds) == ("nasbench201", 9930, 15625, 3)
    assert entry.architecture == str(genotype("333133"))
    in16 = entry["in16"]
    assert (in16.title, in16.test, in16.rank, in16.best_index) == ("ImageNet16-120", 46.34444, 26, 857)
    assert in16.gap == 0.96667
    assert (entry["c100"].gap, entry["c10"].gap) == (0, 0.01)
    assert json.loads(json.dumps(entry.to_json())) == entry.to_json()


def test_a_row_has_the_fields_of_devices_only_with_hardware():
    assert "latency_raspi4_ms" not in TABLE.row(0)
    assert TABLE.row(0, hardware=True)["latency_raspi4_ms"] == 10.481977
    assert set(TABLE.row(0, hardware=True)) == set(TABLE.fields)


def test_missing_measurements_are_nan():
    assert np.isnan(TABLE.row(0, hardware=True)["latency_edgegpu_ms"])
    with pytest.raises(UserError, match="'latency_edgegpu_ms' was not measured for architecture 0"):
        TABLE.rank("latency_edgegpu_ms", 0)


def test_columns_are_shared_and_read_only():
    assert TABLE.column("c10_test") is TABLE.column("c10_test")
    with pytest.raises(ValueError, match="read-only"):
        TABLE.column("c10_test")[0] = 100


def test_a_table_goes_to_another_process_as_the_file_that_it_is_read_from():
    assert len(content := pickle.dumps(TABLE)) < 200
    assert pickle.loads(content).row(9930) == TABLE.row(9930)


def test_fields_are_described():
    assert "%" in TABLE.fields["c10_valid"]
    assert len(set(TABLE.fields.values())) == len(TABLE.fields) == 67


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load("nasbench"), "unknown table 'nasbench'; did you mean 'nasbench201'"),
        (lambda: TABLE.column("c10_tset"), "unknown nasbench201 field 'c10_tset'; did you mean 'c10_test'"),
        (lambda: TABLE.column("ops"), "unknown nasbench201 field 'ops'"),
        (lambda: TABLE.best("iso_rep"), "'iso_rep' has no better and worse"),
        (lambda: TABLE.row("9930"), "nasbench201 has no architecture '9930': expected 0..15624"),
        (lambda: TABLE.summary(1.5), "nasbench201 has no architecture 1.5: expected 0..15624"),
        (lambda: TABLE.genotype(True), "nasbench201 has no architecture True: expected 0..15624"),
        (lambda: TABLE.rank("c10_test", None), "nasbench201 has no architecture None: expected 0..15624"),
        (lambda: TABLE.index("9930"), "an index is that of a Genotype, not of '9930': let a space parse a text"),
        (lambda: TABLE.column(["c10_test"]), r"unknown nasbench201 field '\['c10_test'\]'"),
        (lambda: TABLE.row(15625), "nasbench201 has no architecture 15625: expected 0..15624"),
        (lambda: TABLE.rank("c10_test", -1), "no architecture -1"),
        (lambda: TABLE.genotype(-1), "no architecture -1"),
        (lambda: TABLE.summary(99999), "no architecture 99999"),
        (lambda: TABLE.index(Genotype.of("x", {})), "expected one operation on each of 1<-0, 2<-0"),
        (lambda: TABLE.index(Genotype.of("x", {"cell": [(1, 0, "none")]})), r"no architecture '\|none~0\|'"),
        (lambda: TABLE.index(Genotype.of("x", {"a": [], "b": []})), "expected one operation on each"),
        (
            lambda: TABLE.index(Genotype.of("x", {"cell": [(*edge, "avg_pool_3x4") for edge in EDGES]})),
            "unknown nasbench201 operation 'avg_pool_3x4'; did you mean 'avg_pool_3x3'",
        ),
    ],
)
def test_mistakes_are_refused_in_one_line(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_file_is_small():
    assert len((files("supernet.spaces.tables") / "nasbench201.npz").read_bytes()) <= 3e6


@pytest.fixture(scope="module")
def sources():
    folder = Path(os.environ.get("SUPERNET_DATA", ""))
    names = ("nasbench201.csv.gz", "nasbench201_hardware.csv.gz")
    if "SUPERNET_DATA" not in os.environ or not all((folder / name).is_file() for name in names):
        pytest.skip(f"SUPERNET_DATA is not a folder with {' and '.join(names)}")
    return [folder / name for name in names]


def field_of(header):
    """Return the field with a column of the csv, by rules independent of the script."""
    if header.startswith(("hwnb_c10_", "help_")):
        device, what, unit = header.removeprefix("hwnb_c10_").removeprefix("help_").rsplit("_", 2)
        name, _, batch = device.rpartition("_")
        if batch in ("1", "32", "256") and device != "essential_ph_1":
            device = f"{name}_b{batch}"
        return f"{ {'lat': 'latency', 'en': 'energy'}[what] }_{device}_{unit}"
    return header.replace("_200", "")


def test_every_field_equals_the_csv(sources, texts):
    seen = set()
    for source in sources:
        with gzip.open(source, "rt", newline="") as stream:
            header, *rows = csv.reader(stream)
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        assert texts == columns["arch"]
        for name in set(header) - {"index", "arch", "ops"}:
            printed = [float(cell or "nan") for cell in columns[name]]
            np.testing.assert_array_equal(TABLE.column(field_of(name)), printed, err_msg=name)
            seen.add(field_of(name))
    assert seen == set(TABLE.fields)


@pytest.mark.slow
def test_packing_again_gives_the_same_file(sources, tmp_path):
    packed = tmp_path / "packed.npz"
    runpy.run_path(str(SCRIPT))["main"](*map(str, sources), str(packed))
    shipped = (files("supernet.spaces.tables") / "nasbench201.npz").open("rb")
    with shipped, ZipFile(shipped) as old, ZipFile(packed) as new:
        members, again = ([member_of(info) for info in archive.infolist()] for archive in (old, new))
    assert members == again


def member_of(info):
    """Return what determines the bytes of a zip member, but for the version of zlib."""
    attributes = info.date_time, info.create_system, info.external_attr, info.compress_type, info.flag_bits, info.extra
    return info.filename, info.CRC, info.file_size, attributes


@pytest.mark.parametrize(
    ("name", "classes", "found"),
    [
        ("cifar10", 10, "c10"),
        ("CIFAR-10-images", 10, "c10"),
        ("cifar100", 100, "c100"),
        ("ImageNet16-120", 120, "in16"),
        ("cifar10", 100, None),
        ("cifar100-animals", 10, None),
        ("cifar10-01", 10, "c10"),
        ("cifar_10_0.5", 10, "c10"),
        ("photos", 10, None),
        ("", 0, None),
    ],
)
def test_images_are_those_of_a_table_by_name_and_classes(name, classes, found):
    assert dataset_of(name, classes) == found
    assert holds(name, ["x"] * classes) == (found is not None)
