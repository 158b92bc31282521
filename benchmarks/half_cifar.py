"""The claims of Single-DARTS with three times the images: half of CIFAR-10 at 16x16, in minutes on two CPU cores.

    python benchmarks/half_cifar.py cifar10.npz --out runs/half-cifar

The study uses the first 25 000 training images of `cifar10.npz` (x_train, y_train; uint8, 32x32x3), averaged down to
16x16: 12 500 train the weights, and 12 500 train alpha (bi-level) or serve for validation only; 25 epochs.
"""

from __future__ import annotations

from small_cifar import SGD
from study import Row, Study, main

STUDY = Study(
    rows=(
        Row("Single-DARTS (sigmoid)", ["--method", "single-darts"], 5, drawn=True),
        Row("DARTS 1st order, alpha SGD", ["--method", "darts", *SGD], 5, drawn=True),
        Row("random search", ["--method", "random"], 5, drawn=True),
    ),
    shared=["--images", "25000", "--image-size", "16", "--epochs", "25", "--device", "cpu"],
    stops=(5, 10, 15, 20),
)

if __name__ == "__main__":
    main(STUDY, __doc__)
