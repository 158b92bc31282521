"""Single-DARTS and DARTS at two learning rates, by the paper's protocol on NAS-Bench-201, for one GPU.

    python benchmarks/nasbench201_protocol.py cifar10.npz --out runs/nasbench201 --workers 1

`cifar10.npz` holds x_train, y_train (uint8, 32x32x3) of CIFAR-10. 25 000 images train the weights, and in bi-level
search another 25 000 train alpha, if the file has as many; 32x32, 16 channels, 5 cells per stage, batch size 64, 50
epochs. Weights and alpha are updated by SGD with the same learning rate (tables 4 and 5 of the paper).
"""

from __future__ import annotations

from study import Row, Study, main


def rate(lr: str) -> list[str]:
    return ["--w.lr", lr, "--alpha.optimizer", "sgd", "--alpha.lr", lr, "--alpha.weight-decay", "0"]


STUDY = Study(
    rows=tuple(
        Row(f"{label}, lr {lr}", ["--method", method, *rate(lr)], 3, drawn=True)
        for lr in ("0.005", "0.025")
        for label, method in (("Single-DARTS", "single-darts"), ("DARTS 1st order", "darts"))
    ),
    shared=["--protocol", "nasbench201"],
    stops=(10, 20, 30, 40),
)

if __name__ == "__main__":
    main(STUDY, __doc__)
