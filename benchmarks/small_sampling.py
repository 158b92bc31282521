"""NAO-V2, RSPS, ENAS, GDAS and SETN on real CIFAR-10, at a size for two CPU cores.

    python benchmarks/small_sampling.py cifar10.npz --out runs/small-sampling

The protocol is that of small_cifar.py: 8 192 images of 16x16, 40 epochs. The cost of each row is counted in passes of
one batch through one path (through the whole mix for SETN's alpha): forward with backward, and forward only. The
learning rates of alpha and of ENAS' controller are raised, since there are 38 and 6 times fewer updates than published.
"""

from __future__ import annotations

from small_selection import Search, main

ALPHA = ["--alpha.lr", "0.01"]

SEARCHES = (
    Search("NAO-V2", ["--method", "nao-v2-small"]),
    Search("NAO-V2, uniform", ["--method", "nao-v2-small", "--sampling", "uniform"]),
    Search("NAO-V2, continued supernets", ["--method", "nao-v2-small", "--reinit", "lr"]),
    Search("RSPS", ["--method", "rsps"]),
    Search("ENAS", ["--method", "enas", "--controller-lr", "0.005"]),
    Search("GDAS", ["--method", "gdas", *ALPHA], ["best-of-samples"], 2),
    Search("SETN", ["--method", "setn", *ALPHA], passes=2),
    Search("Single-DARTS", ["--method", "single-darts"], ["best-of-samples"]),
)


if __name__ == "__main__":
    main(SEARCHES, __doc__, seeds=3)
