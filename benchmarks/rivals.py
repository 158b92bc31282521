"""The methods that others are compared with, on real CIFAR-10, at a size for two CPU cores.

    python benchmarks/rivals.py cifar10.npz --out runs/rivals

Data and protocol are those of `small_cifar.py`. As there, alpha takes steps of SGD at the learning rate of the weights;
only FairDARTS, DropNAS, P-DARTS and CDARTS keep the optimizer of alpha that was published with them, as their settings
depend on it.
"""

from __future__ import annotations

from small_cifar import SGD
from small_cifar import STUDY as SMALL
from study import Row, Study, main

STUDY = Study(
    rows=(
        Row("PC-DARTS", ["--method", "pc-darts", *SGD], 3),
        Row("DARTS minus", ["--method", "darts-minus", *SGD], 3),
        Row("DARTS minus, alpha Adam", ["--method", "darts-minus"], 3),
        Row("DARTS plus", ["--method", "darts-plus", *SGD], 3),
        Row("DARTS plus, from epoch 10", ["--method", "darts-plus", "--earliest", "10", *SGD], 3),
        Row("SDARTS-RS", ["--method", "sdarts-rs", *SGD], 3),
        Row("SDARTS-ADV", ["--method", "sdarts-adv", *SGD], 3),
        Row("FairDARTS", ["--method", "fairdarts"], 3),
        Row("DropNAS", ["--method", "dropnas"], 3),
        Row("P-DARTS", ["--method", "p-darts"], 3),
        Row("CDARTS", ["--method", "cdarts"], 3),
        Row("R-DARTS L2", ["--method", "r-darts-l2", *SGD], 3),
        Row("R-DARTS DP", ["--method", "r-darts-dp", *SGD], 3),
        Row("R-DARTS ES", ["--method", "r-darts-es", *SGD], 3),
        Row("R-DARTS ADA", ["--method", "r-darts-ada", *SGD], 3),
    ),
    shared=SMALL.shared,
    stops=SMALL.stops,
)

if __name__ == "__main__":
    main(STUDY, __doc__)
