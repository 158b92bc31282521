"""The claims of Single-DARTS on real CIFAR-10, at a size for two CPU cores.

    python benchmarks/small_cifar.py cifar10.npz --out runs/small-cifar

`cifar10.npz` holds x_train, y_train (uint8, 32x32x3) of CIFAR-10. The study uses the first 8 192 training images,
averaged down to 16x16: 4 096 train the weights, and another 4 096 train alpha (bi-level) or serve for validation only.
"""

from __future__ import annotations

from study import Row, Study, main

SGD = ["--alpha.optimizer", "sgd", "--alpha.lr", "0.025", "--alpha.weight-decay", "0"]

STUDY = Study(
    rows=(
        Row("Single-DARTS (sigmoid)", ["--method", "single-darts"], 5, drawn=True),
        Row("DARTS 1st order, alpha SGD", ["--method", "darts", *SGD], 5, drawn=True),
        Row("random search", ["--method", "random"], 5, drawn=True),
        Row("DARTS 2nd order, alpha SGD", ["--method", "darts-2nd", *SGD], 2, drawn=True),
        Row("Single-DARTS, softmax", ["--method", "single-darts", "--activation", "softmax"], 3),
        Row("other batch of the same half, softmax", ["--method", "darts", "--regime", "same_subset", *SGD], 3),
        Row("DARTS 1st order, alpha Adam", ["--method", "darts"], 3),
        Row("Single-DARTS, alpha Adam", ["--method", "single-darts", "--alpha.optimizer", "adam"], 3),
        Row("Single-DARTS, sigmoid from 1/2", ["--method", "single-darts", "--sigmoid-init", "zero"], 3),
    ),
    shared=["--images", "8192", "--image-size", "16", "--epochs", "40", "--device", "cpu"],
    stops=(10, 20, 30),
)

if __name__ == "__main__":
    main(STUDY, __doc__)
