"""Write src/supernet/data/digits.npz, the handwritten digits that ship with the package, from scikit-learn's copy.

The data: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licensed CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). scikit-learn's copy
is the test part of the data, 1797 images of 8x8 pixels; only the file format changes here, to uint8.

Usage, with scikit-learn installed: python scripts/pack_digits.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src" / "supernet" / "data" / "digits.npz"


def main() -> None:
    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    assert (x == digits.images).all()
    np.savez_compressed(TARGET, x=x, y=y)
    print(f"{TARGET}: {len(x)} images, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
