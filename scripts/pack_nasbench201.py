"""Pack the NAS-Bench-201 tables into the file that ships with the package.

Usage: python scripts/pack_nasbench201.py nasbench201.csv.gz nasbench201_hardware.csv.gz OUT.npz

Every column becomes whole numbers (value = number * step / per; -1 = not measured) in a zip member of its own, and
every value is checked against the number printed in the csv. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from supernet.spaces.tables.entry import TITLES
from supernet.spaces.tables.nasbench201 import EDGES, OPS
from supernet.spaces.tables.table import MISSING, Field

TRAINED = {
    "c10_valid": "CIFAR-10 validation: trained on 25k of the training images, measured on the other 25k",
    "c10_test": "CIFAR-10 test: trained on all 50k training images",
    "c100_valid": "CIFAR-100 validation: one half of the official test images",
    "c100_test": "CIFAR-100 test: the other half of the official test images",
    "in16_valid": "ImageNet16-120 validation: one half of the official validation images",
    "in16_test": "ImageNet16-120 test: the other half of the official validation images",
}
COSTS = {
    "flops_m": "FLOPs (multiply-adds) of one image, millions",
    "params_m": "parameters, millions",
    "train_time_s": "time of the 200-epoch training as published with the benchmark, s",
    "latency_s": "latency as published with the benchmark, s",
}
IDENTITY = {"index", "arch", "ops"}
SOURCES = {"hwnb_c10": "HW-NAS-Bench, CIFAR-10 network", "help": "HELP"}
DEVICES = {
    "raspi4": "Raspberry Pi 4",
    "pixel3": "Pixel 3 phone",
    "eyeriss": "Eyeriss accelerator",
    "fpga": "FPGA",
    "edgegpu": "edge GPU",
    "edgetpu": "edge TPU",
    "1080ti": "GTX 1080 Ti GPU",
    "2080ti": "RTX 2080 Ti GPU",
    "titan_rtx": "Titan RTX GPU",
    "titanx": "Titan X GPU",
    "titanxp": "Titan Xp GPU",
    "essential_ph_1": "Essential PH-1 phone",
    "pixel2": "Pixel 2 phone",
    "samsung_a50": "Samsung A50 phone",
    "samsung_s7": "Samsung S7 phone",
    "gold_6226": "Xeon Gold 6226 CPU",
    "gold_6240": "Xeon Gold 6240 CPU",
    "silver_4114": "Xeon Silver 4114 CPU",
    "silver_4210r": "Xeon Silver 4210R CPU",
}
QUANTITIES = {"lat_ms": ("latency", "ms"), "en_mj": ("energy", "mJ")}


def main(table: str, hardware: str, out: str) -> None:
    columns, measured = read(table), read(hardware)
    check_order(columns, measured)
    codes = np.array([int(ops, len(OPS)) for ops in columns["ops"]], dtype="<i2")
    members, fields = {"ops": codes}, {}
    for header, cells in (columns | measured).items():
        if header not in IDENTITY:
            name, about, better = describe(header)
            fields[name], members[name] = encode(cells, about, better, hardware=header in measured)
    write(Path(out), json.dumps({"rows": len(codes), "fields": {n: asdict(f) for n, f in fields.items()}}), members)


def read(path: str) -> dict[str, list[str]]:
    with gzip.open(path, "rt", newline="") as stream:
        header, *rows = csv.reader(stream)
    columns = {name: list(cells) for name, cells in zip(header, zip(*rows, strict=True), strict=True)}
    if "ops" in columns:  # the csv lacks the leading zeros of the six digits
        columns["ops"] = [ops.zfill(len(EDGES)) for ops in columns["ops"]]
    return columns


def check_order(columns: dict[str, list[str]], measured: dict[str, list[str]]) -> None:
    """Exit unless row i is architecture i in both files and the columns ops and arch agree."""
    if columns["index"] != [str(number) for number in range(len(OPS) ** len(EDGES))]:
        sys.exit("the rows of the first file are not 0..15624 in order")
    if (columns["index"], columns["arch"]) != (measured["index"], measured["arch"]):
        sys.exit("the rows of the two files are not the same architectures")
    if [re.findall(r"(\w+)~", arch) for arch in columns["arch"]] != [[OPS[int(d)] for d in o] for o in columns["ops"]]:
        sys.exit("the columns arch and ops disagree")


def describe(header: str) -> tuple[str, str, int]:
    """Return the field's name, its description, and the better direction (+1 higher, -1 lower, 0 neither)."""
    if header == "n_seeds":
        return header, "how many trainings the 200-epoch accuracies are means of", 0
    if header == "iso_rep":
        return header, "smallest index of an architecture that computes the same (isomorphic cell)", 0
    if match := re.fullmatch(r"((?:c10|c100|in16)_(?:valid|test))_(200|12)(?:_s(\d))?", header):
        return describe_accuracy(*match.groups())
    if match := re.fullmatch(r"(c10|c100|in16)_(\w+)", header):
        return header, f"{TITLES[match[1]]} {COSTS[match[2]]}", -1
    return describe_hardware(header)


def describe_accuracy(split: str, epochs: str, seed: str | None) -> tuple[str, str, int]:
    suffix = f"_s{seed}" if seed else "" if epochs == "200" else "_12"
    mean = "mean over seeds" if epochs == "200" else "the short schedule"
    training = f"trained with seed {seed} of 0..2" if seed else mean
    return split + suffix, f"accuracy, %, {epochs} epochs, {training}; {TRAINED[split]}", 1


def describe_hardware(header: str) -> tuple[str, str, int]:
    match = re.fullmatch(rf"({'|'.join(SOURCES)})_({'|'.join(DEVICES)})(?:_(\d+))?_({'|'.join(QUANTITIES)})", header)
    if not match:
        sys.exit(f"unknown column '{header}'")
    source, device, batch, quantity = match.groups()
    what, unit = QUANTITIES[quantity]
    name = f"{what}_{device}{f'_b{batch}' if batch else ''}_{unit.lower()}"
    return name, f"{what} on {DEVICES[device]}{f', batch {batch}' if batch else ''}, {unit} ({SOURCES[source]})", -1


def encode(cells: list[str], about: str, better: int, *, hardware: bool) -> tuple[Field, np.ndarray]:
    """Encode `cells` as multiples of their greatest common step, in the smaller of int16 and int32 that holds them."""
    digits = max(len(cell.partition(".")[2]) for cell in cells)
    whole = np.array([round(float(cell) * 10**digits) if cell else MISSING for cell in cells])
    step = int(np.gcd.reduce(whole[whole > 0]))
    numbers = np.where(whole == MISSING, MISSING, whole // step)
    numbers = numbers.astype("<i2" if numbers.max() < 2**15 else "<i4")
    field = Field(about, step, 10**digits, better, hardware)
    if not np.array_equal(field.decode(numbers), [float(cell or "nan") for cell in cells], equal_nan=True):
        sys.exit(f"the column '{about}' does not decode to the printed numbers")
    return field, numbers


def write(path: Path, header: str, members: dict[str, np.ndarray]) -> None:
    """Write one zip member per column, with fixed dates and attributes, so that the bytes depend only on the data."""
    with ZipFile(path, "w") as archive:
        add(archive, "fields.json", header.encode())
        for name, numbers in members.items():
            stream = io.BytesIO()
            np.save(stream, numbers, allow_pickle=False)
            add(archive, f"{name}.npy", stream.getvalue())


def add(archive: ZipFile, name: str, data: bytes) -> None:
    info = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    archive.writestr(info, data, compress_type=ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
