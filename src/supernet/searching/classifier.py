"""`ImageClassifier`: search, retraining and prediction as one estimator in the form of scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from supernet.data.arrays import plain_array, scale_like, scale_of, to_pixels, with_channels
from supernet.data.resize import fit_arrays
from supernet.engine.driving import driving
from supernet.engine.files import folder_given
from supernet.engine.run import Run
from supernet.errors import UserError, shown, unknown
from supernet.retraining.config import configured
from supernet.retraining.load import load
from supernet.retraining.train import retrain
from supernet.searching.search import search
from supernet.spaces import SPACES


class ImageClassifier:
    """A classifier of images that searches for its network, trains it from scratch, and predicts with it.

    It has the methods of scikit-learn's estimators and works in its tools, and without scikit-learn as well. `X` are
    images as `supernet.search` takes them in (X, y): (N, H, W), (N, H, W, C) or (N, C, H, W); `y` are labels of any
    kind.

    - `space`, `method`, `seed`, `device`: as for `supernet.search`; the retraining has the same seed and device.
    - `search`: further arguments of `supernet.search`, as {"epochs": 20}; `force` starts the retraining over, too.
    - `recipe`, and in `retrain` further arguments: those of `supernet.retrain`.
    - `out`: the run folder, where the same `fit` goes on after an interruption; None keeps no folder.
    - `quiet`: no progress.

    After `fit` it has `classes_`, `genotype_`, `verdict_` and `predictor_`, a `supernet.Predictor`.
    """

    def __init__(
        self,
        *,
        space: Any = "nasbench201",
        method: Any = "single-darts",
        search: Mapping[str, Any] | None = None,
        recipe: Any = "quick",
        retrain: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "auto",
        out: str | PathLike[str] | None = None,
        quiet: bool = True,
    ) -> None:
        self.space, self.method, self.search = space, method, search
        self.recipe, self.retrain = recipe, retrain
        self.seed, self.device, self.out, self.quiet = seed, device, out, quiet

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Self:  # noqa: N803
        """Search, retrain, and return this classifier; raises UserError for images, labels or settings that do not fit.

        An earlier `fit` is forgotten once the new one is done.
        """
        x = _images(X)
        scale = scale_of(x, "X")
        classes, numbers = _encoded(y)
        channels_last = to_pixels(x, scale).permute(0, 2, 3, 1)  # of 4 pixels across, the others look like that, too
        data = (channels_last, torch.from_numpy(numbers))
        shared: dict[str, Any] = {"seed": self.seed, "device": self.device, "quiet": self.quiet}
        first = shared | {"space": self.space, "method": self.method} | _further("search", self.search)
        space = first["space"]
        own = {} if isinstance(space, str) and space in SPACES else {"space": space}  # which no run leads back to
        again = {"force": first["force"]} if "force" in first else {}  # its folder lies in that of the search
        then = own | shared | again | {"recipe": self.recipe} | _further("retrain", self.retrain)
        _check_retraining(**then)
        with self._folder() as folder:
            run: Run = search(data=data, **{"out": folder} | first)
            predictor = load(retrain(what=run, data=data, **then), device=self.device, **own)
            self.genotype_, self.verdict_ = run.genotype, run.verdict
        self.classes_, self.predictor_, self._scale, self._pixels = classes, predictor, scale, x.shape[2:]
        return self

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        if self.out is not None:
            yield folder_given(self.out)
            return
        with TemporaryDirectory(prefix="supernet-") as folder:
            yield Path(folder) / "search"

    def predict_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:  # noqa: N803
        """Return the probabilities (N, classes), in the order of `classes_`; raises UserError before `fit`."""
        self._check_fitted()
        x = _images(X)
        pixels, size = to_pixels(x, scale_like(self._scale, x, "X")), self.predictor_.image_size
        if x.shape[2:] == self._pixels and size not in (None, self._pixels):
            pixels = fit_arrays(pixels, size[0])  # as the search or the retraining has resized them
        found = self.predictor_.probabilities(self.predictor_.fitted(pixels, "X")).double().numpy()
        order = [self.predictor_.classes.index(str(number)) for number in range(len(self.classes_))]
        probabilities: NDArray[np.float64] = found[:, order] / found.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: ArrayLike | Tensor) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each image; raises UserError before `fit`."""
        best = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[best]
        return found

    def score(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> float:  # noqa: N803
        """Return the share of images that are predicted as `y` (N,) says, each counted by its `sample_weight` (N,).

        Raises UserError before `fit`, for labels or weights of another number than the images and for weights of sum 0.
        """
        labels = np.asarray(y)
        predicted = self.predict(X)
        if labels.shape != predicted.shape:
            raise UserError(f"y has shape {labels.shape}; expected a label for each of {len(predicted)} images")
        weights = None if sample_weight is None else np.asarray(sample_weight)
        if weights is not None and weights.shape != labels.shape:
            raise UserError(
                f"sample_weight has shape {weights.shape}; expected a weight for each of {len(labels)} images"
            )
        if weights is not None and not weights.sum():
            raise UserError("sample_weight has sum 0: give some image a weight")
        return float(np.average(predicted == labels, weights=weights))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor; none holds an estimator, so `deep` changes nothing."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor; raises UserError for an unknown name."""
        for name, value in params.items():
            if name not in self.get_params():
                raise unknown("parameter", name, self.get_params())
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = signature(type(self)).parameters
        given = [f"{name}={value!r}" for name, value in self.get_params().items() if value is not usual[name].default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise UserError(f"{type(self).__name__} has learned nothing yet: call fit(X, y) first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            ClassifierTags,
            InputTags,
            Tags,
            TargetTags,
        )

        images = InputTags(two_d_array=False, three_d_array=True)
        return Tags("classifier", TargetTags(required=True), classifier_tags=ClassifierTags(), input_tags=images)


def _further(name: str, given: object) -> dict[str, Any]:
    """Return the further arguments of a search or a retraining; raises UserError for those that `fit` decides."""
    if given is not None and not isinstance(given, Mapping):
        raise UserError(f"{name} takes a mapping of settings, as {{'epochs': 20}}, not {given!r}")
    arguments = dict(given or {})
    for own, why in (("data", "give the images to fit"), ("what", "it trains what its search has found")):
        if own in arguments:
            raise UserError(f"'{own}' is no setting of an ImageClassifier: {why}")
    return arguments


def _check_retraining(**settings: Any) -> None:
    """Raise UserError for settings of a retraining that there are not, before a search that may take hours.

    Those that do not suit the network or the images are told once it has been found.
    """
    driving(settings)
    configured("", **settings)


def _images(values: ArrayLike | Tensor) -> NDArray[Any]:
    return with_channels(plain_array(values, "X"), "X")


def _encoded(y: ArrayLike | Tensor) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the labels that there are, sorted, and the number of each image's label among them."""
    labels = plain_array(y, "y")
    if labels.ndim != 1:
        raise UserError(f"y has shape {labels.shape}; expected one label for each image, (N,)")
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.rint(labels))).all():
        raise UserError("y holds numbers with fractions, NaN or infinity; expected labels of classes")
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError:  # of labels of several types
        raise UserError("y holds labels that cannot be sorted: give all of one type") from None
    if len(classes) == 1:  # told of the images' own labels, as the search would only know its number
        raise UserError(f"y holds only one class, {shown(classes[0])}: at least 2 are needed")
    return classes, numbers.astype(np.int64)
