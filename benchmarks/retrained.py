"""Does a search pay off? The cell it finds, a random cell and a ResNet, retrained in the same way on your images.

    python benchmarks/retrained.py digits --out runs/retrained-digits
    python benchmarks/retrained.py fashion-mnist/ --out runs/retrained-fashion --search-images 8192 \
        --search-epochs 20 --width 8 --epochs 8

Every seed runs a Single-DARTS search on NAS-Bench-201's cells, then trains three networks from scratch by the recipe
`quick` with the same seed and measures them on the test images: the cell found by the search; a cell drawn uniformly
from the space; and NAS-Bench-201's ResNet cell (#11472, a basic block), with the width at which it has as many
parameters as the first. Finished runs are kept. `supernet baseline` compares a single search with more.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import supernet as sn
from sides import spread
from supernet.models.cost.scaling import nearest_width

SPACE = sn.space("nasbench201")
RESNET = SPACE.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|")


def equal_width(found: sn.Run) -> int:
    """Return the width at which the ResNet has as many parameters as the network found by the search."""
    network_size = sn.NetworkSize.from_json(found.config["network_size"])
    return nearest_width(SPACE, RESNET, network_size, "params", found.summary["params"], least=2).width


def one_seed(given: argparse.Namespace, seed: int) -> dict[str, sn.Run]:
    settings = {"images": given.search_images, "epochs": given.search_epochs, "image_size": given.image_size}
    search = sn.search(given.data, seed=seed, out=given.out / f"search-{seed}", quiet=True, device="cpu", **settings)
    recipe = {"epochs": given.epochs, "image_size": given.image_size, "device": "cpu", "seed": seed, "quiet": True}

    def train(name: str, genotype: sn.Genotype, width: int) -> sn.Run:
        place = given.out / f"{name}-{seed}"
        run = sn.retrain(genotype, data=given.data, recipe="quick", width=width, out=place, **recipe)
        print(f"done: {name}, seed {seed}: {100 * run.summary['test_accuracy']['last']:.2f} %", flush=True)
        return run

    found = train("found", search.genotype, given.width)
    drawn = train("random", SPACE.sample(random.Random(seed)), given.width)
    return {"found": found, "random": drawn, "resnet": train("resnet", RESNET, equal_width(found))}


def table(runs: dict[str, list[sn.Run]]) -> str:
    lines = ["| network | n | test accuracy, % | M parameters | M FLOPs | s/run |", "|---|---|---|---|---|---|"]
    titles = {"found": "found by Single-DARTS", "random": "random cell", "resnet": "ResNet of equal size"}
    for name, title in titles.items():
        rows = [run.summary for run in runs[name]]
        accuracy = spread([100 * row["test_accuracy"]["last"] for row in rows])
        params, flops = (spread([row[what] / 1e6 for row in rows]) for what in ("params", "flops"))
        seconds = sum(row["seconds"] for row in rows) / len(rows)
        lines.append(f"| {title} | {len(rows)} | {accuracy} | {params} | {flops} | {seconds:.0f} |")
    known = [run.config["architecture"] for run in runs["found"]]
    return "\n".join([*lines, "", *(f"found, seed {seed}: `{text}`" for seed, text in enumerate(known))]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="digits, an .npz file, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--search-images", type=int)
    parser.add_argument("--search-epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=16, help="of the found and the random network")
    parser.add_argument("--epochs", type=int, default=15, help="of each retraining")
    parser.add_argument("--report", type=Path, help="write the table here (.md)")
    given = parser.parse_args()
    per_seed = [one_seed(given, seed) for seed in range(given.seeds)]
    text = table({name: [runs[name] for runs in per_seed] for name in per_seed[0]})
    print(text)
    if given.report is not None:
        given.report.write_text(text)


if __name__ == "__main__":
    main()
