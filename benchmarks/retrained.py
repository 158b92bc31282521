"""Does a search pay off? What searches find on your images, and what needs no search, at equal cost and by one recipe.

    python benchmarks/retrained.py digits --out runs/retrained-digits
    python benchmarks/retrained.py fashion-mnist/ --out runs/retrained-fashion --protocol medium --images 10000 \
        --flops 2M --epochs 5

Every seed runs a Single-DARTS search (alpha by SGD at 0.025, as in medium.yaml), then trains from scratch, with the
same seed and on the same images, the network that it found and the baselines that `supernet baseline` knows, of the
same FLOPs. So the spread is that of search and training, and differences are paired by seed. With `--flops` the found
network has one cell per stage and the width at which its FLOPs are nearest to these. `--also 11472` adds an
architecture of the same space, with the width at which it has the FLOPs of the found one: here NAS-Bench-201's ResNet
cell. Finished runs are kept; more seeds and networks may be added.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import supernet as sn
from sides import spread, table, where
from supernet.searching.baselines.rivals import NETWORKS
from supernet.searching.baselines.rows import Trained, trained
from supernet.searching.compare.config import seeds_of
from supernet.searching.compare.statistics import difference

ALPHA = {"optimizer": "sgd", "lr": 0.025, "weight_decay": 0.0}
HEAD = ("network", "n", "test accuracy, %", "M parameters", "M FLOPs", "against the first")


def one_seed(given: argparse.Namespace, seed: int) -> dict[str, Trained]:
    """Return what one search found and what was trained beside it, by the label of its row."""
    asked = {"images": given.images, "image_size": given.image_size}
    asked |= {"epochs": given.search_epochs, "width": given.search_width}
    settings = {name: value for name, value in asked.items() if value is not None}
    settings |= {"protocol": given.protocol, "space": given.space, "seed": seed, "device": "cpu", "quiet": True}
    searched = sn.search(given.data, out=given.out / f"search-{seed}", alpha=ALPHA, **settings)
    how = {"recipe": given.recipe, "epochs": given.epochs, "image_size": searched.config["image_size"]}
    how |= {"device": "cpu", "quiet": True} | ({} if given.flops is None else {"depth": 1, "flops": given.flops})
    out = given.out / f"baseline-{seed}"
    found = sn.baseline(given.data, like=searched, by="flops", seeds=[seed], networks=given.networks, out=out, **how)
    results = {row.label: row.results[seed] for row in found.rows}
    how |= {"depth": 1, "flops": results["found"].flops, "space": given.space, "seed": seed}
    for name in given.also:
        results[name] = trained(sn.retrain(name, data=given.data, out=given.out / f"{name}-{seed}", **how))
    for label, result in results.items():
        print(f"seed {seed}: {label} {result.accuracy:.2f} %", flush=True)
    return results


def rows(by_seed: Mapping[int, Mapping[str, Trained]]) -> list[list[str]]:
    """Return a row for each network, over the seeds that have it."""
    labels = dict.fromkeys(label for results in by_seed.values() for label in results)
    results = {label: {seed: of[label] for seed, of in by_seed.items() if label in of} for label in labels}
    accuracies = {label: {seed: one.accuracy for seed, one in by.items()} for label, by in results.items()}
    first = next(iter(accuracies))
    lines = []
    for label, by in results.items():
        sizes = [spread([getattr(one, name) / 1e6 for one in by.values()]) for name in ("params", "flops")]
        against = "" if label == first else str(difference(accuracies[label], accuracies[first]))
        lines.append([label, str(len(by)), spread(list(accuracies[label].values())), *sizes, against])
    return lines


def report(by_seed: Mapping[int, Mapping[str, Trained]]) -> str:
    """Return the table, and the architectures that were found."""
    found: Sequence[str] = [f"found, seed {seed}: `{of['found'].architecture}`" for seed, of in by_seed.items()]
    return "\n".join([where(), table(rows(by_seed), HEAD), *found]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="digits, an .npz file, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--protocol", default="small", help="of the search")
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--images", type=int, help="of the search")
    parser.add_argument("--search-epochs", type=int)
    parser.add_argument("--search-width", type=int, help="channels of the supernet")
    parser.add_argument("--flops", help="of all networks, as 4M")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="beside the found one")
    parser.add_argument("--also", nargs="+", default=(), help="architectures of the space, as 11472")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--epochs", type=int, default=15, help="of each retraining")
    parser.add_argument("--report", type=Path, help="write the table here (.md)")
    given = parser.parse_args()
    by_seed = {}
    for seed in seeds_of(given.seeds):
        by_seed[seed] = one_seed(given, seed)
        print("\n" + report(by_seed), flush=True)
    if given.report is not None:
        given.report.write_text(report(by_seed))


if __name__ == "__main__":
    main()
