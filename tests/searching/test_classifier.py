"""ImageClassifier: an estimator in the form of scikit-learn's, with it and without it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import supernet as sn

SMALL = {"search": {"epochs": 1, "width": 2}, "retrain": {"epochs": 2, "width": 4, "mirror": False}, "device": "cpu"}


def images(count=60):
    """Return grey images from 0 to 255 as floats, and labels: the brighter, the later in the alphabet."""
    draws = np.random.default_rng(0)
    labels = np.arange(count) % 3
    x = np.rint(draws.uniform(0, 55, (count, 8, 8)) + 100 * labels[:, None, None])
    return x, np.array(["dark", "middle", "pale"])[labels]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return sn.ImageClassifier(**SMALL, out=tmp_path_factory.mktemp("classifier") / "run").fit(*images())


def test_it_searches_retrains_and_predicts(fitted):
    x, y = images()
    assert fitted.classes_.tolist() == ["dark", "middle", "pale"]
    run = sn.Run(fitted.out)
    assert (fitted.genotype_, fitted.verdict_) == (run.genotype, run.verdict)
    shares = fitted.predict_proba(x)
    assert (shares.shape, shares.dtype) == ((60, 3), np.float64)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert fitted.predict(x).tolist() == fitted.classes_[shares.argmax(1)].tolist()
    assert fitted.score(x, y) == np.mean(fitted.predict(x) == y)
    assert fitted.score(x, y, sample_weight=(y == "dark") + 0) == np.mean(fitted.predict(x)[y == "dark"] == "dark")
    expected = [found.probabilities for found in sn.load(run).predict(list(x.astype(np.uint8)))]
    np.testing.assert_allclose(shares, [[one[str(n)] for n in range(3)] for one in expected], rtol=1e-5)


CHAIN = """
import supernet as sn
edge = sn.Edge(1, 0, ["nor_conv_3x3", "skip_connect"])
chain = sn.SearchSpace("chain", {"cell": sn.Cell((edge,))}, sn.Stages(("cell", "cell")))
"""


@pytest.mark.parametrize("given", [{"space": "own_chain:chain"}, {"search": {"epochs": 1, "space": "own_chain:chain"}}])
def test_the_name_of_a_space_of_ones_own_holds_for_the_retraining_too(given, tmp_path, monkeypatch):
    (tmp_path / "own_chain.py").write_text(CHAIN)
    monkeypatch.syspath_prepend(tmp_path)
    found = sn.ImageClassifier(**SMALL | given).fit(*images())
    assert str(found.genotype_) in ("|nor_conv_3x3~0|", "|skip_connect~0|")


@pytest.mark.parametrize("part", ["search", "retrain"])
def test_images_are_brought_to_the_size_that_the_network_learned_from(part):
    x, y = images()
    settings = SMALL | {part: SMALL[part] | {"image_size": 4}}
    found = sn.ImageClassifier(**settings).fit(x, y)
    assert found.predictor_.image_size == (4, 4)
    small = x.reshape(60, 4, 2, 4, 2).mean(axis=(2, 4)).round()  # as arrays are averaged
    np.testing.assert_allclose(found.predict_proba(x), found.predict_proba(small), atol=1e-6)


def test_images_of_four_pixels_are_not_taken_for_channels():
    x, y = images()
    found = sn.ImageClassifier(**SMALL).fit(x[:, ::2, ::2], y)
    assert found.predictor_.network_size.image_size == (4, 4)
    assert found.predict(x[:, ::2, ::2]).shape == (60,)


def test_single_images_are_scaled_as_the_training_images_were(fitted):
    x, _ = images()
    x[0] = x[0] > 20  # taken alone, zeros and ones would be floats from 0 to 1
    np.testing.assert_allclose(fitted.predict_proba(x[:1]), fitted.predict_proba(x)[:1], atol=1e-6)
    same = fitted.predict_proba(torch.from_numpy(x))
    np.testing.assert_array_equal(fitted.predict_proba(x[..., None]), same)


def test_the_same_fit_in_the_same_folder_is_not_done_again(fitted):
    before = (sn.Run(fitted.out).path / "checkpoints" / "last.pt").stat().st_mtime_ns
    again = sn.ImageClassifier(**fitted.get_params()).fit(*images())
    assert (sn.Run(fitted.out).path / "checkpoints" / "last.pt").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.predict_proba(images()[0]), fitted.predict_proba(images()[0]))


def test_other_images_are_fitted_in_the_same_folder_by_force(tmp_path):
    x, y = images()
    small = SMALL | {"out": tmp_path / "run"}
    sn.ImageClassifier(**small).fit(x, y)
    with pytest.raises(sn.UserError, match="or --force to start over"):
        sn.ImageClassifier(**small).fit(255 - x, y)
    found = sn.ImageClassifier(**small | {"search": SMALL["search"] | {"force": True}}).fit(255 - x, y)
    (retrained,) = sn.Run(tmp_path / "run").inside
    assert retrained.config["fingerprint"] == sn.Run(tmp_path / "run").config["fingerprint"]
    assert found.genotype_ == retrained.genotype


def test_it_pickles_and_predicts_without_its_folder(fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(images()[0]), fitted.predict_proba(images()[0]))
    assert copy.genotype_ == fitted.genotype_


def test_no_folder_is_left_and_labels_are_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    x, y = images(36)
    labels = np.select([y == "dark", y == "middle"], [30, -7], 100)  # as texts in another order
    found = sn.ImageClassifier(**SMALL).fit(x, labels)
    assert found.classes_.tolist() == [-7, 30, 100]
    assert set(found.predict(x)) <= {-7, 30, 100}
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]


def test_parameters_are_read_set_and_shown():
    one = sn.ImageClassifier(method="darts")
    assert repr(one) == "ImageClassifier(method='darts')"
    assert one.set_params(seed=3, space="darts") is one
    assert (one.get_params()["seed"], one.space) == (3, "darts")
    with pytest.raises(sn.UserError, match="unknown parameter 'epochs'"):
        one.set_params(epochs=3)
    with pytest.raises(sn.UserError, match="out takes the path of a folder, not 3"):
        one.set_params(out=3).fit(X, Y)


X, Y = images(12)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X[:, 0], Y, "X has shape (12, 8); expected (N, H, W)"),
        (X * np.nan, Y, "X holds NaN or infinity"),
        ([X[0], X[1, 1:]], Y[:2], "X cannot be made one array"),
        ([torch.zeros(8, 8, requires_grad=True)] * 2, Y[:2], "X cannot be made one array"),
        (np.ma.masked_equal(X, 0), Y, "X has a mask, and no value may be missing"),
        (X, np.ma.masked_equal(Y, "dark"), "y has a mask, and no value may be missing"),
        (X, Y[:-1], ""),
        (X, Y[:, None], "y has shape (12, 1); expected one label for each image"),
        (X, ["dark"] * 12, "y holds only one class, dark: at least 2 are needed"),
        (X, ("dark",) * 12, "y holds only one class, dark: at least 2 are needed"),
        (X, "dark", "y is of type str; expected an array or a tensor"),
        (X, np.linspace(0, 1, 12), "y holds numbers with fractions"),
        (X, [1, "a", None] * 4, ""),
        (X, np.array([1, "a", None] * 4, dtype=object), "y holds labels that cannot be sorted"),
    ],
)
def test_a_mistake_is_one_line(x, y, said):
    with pytest.raises(sn.UserError) as caught:
        sn.ImageClassifier(**SMALL).fit(x, y)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retrain": {"epoch": 3}}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        ({"retrain": {"epochs": 0}}, "setting epochs must be at least 1, not 0"),
        ({"retrain": {"log": 3}}, "setting log takes text, not 3"),
        ({"retrain": {"data": "digits"}}, "'data' is no setting of an ImageClassifier: give the images to fit"),
        ({"retrain": ["epochs"]}, "retrain takes a mapping of settings, as {'epochs': 20}, not ['epochs']"),
        ({"search": {"data": "digits"}}, "'data' is no setting of an ImageClassifier: give the images to fit"),
        ({"search": 3}, "search takes a mapping of settings, as {'epochs': 20}, not 3"),
        ({"recipe": "quik"}, "unknown recipe 'quik'; did you mean 'quick'?"),
    ],
)
def test_a_wrong_argument_is_told_before_the_search(changes, said, tmp_path):
    with pytest.raises(sn.UserError) as caught:
        sn.ImageClassifier(**SMALL | {"out": tmp_path / "run"} | changes).fit(X, Y)
    assert str(caught.value).startswith(said)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_in_predictions_are_one_line(fitted):
    with pytest.raises(sn.UserError, match=r"call fit\(X, y\) first"):
        sn.ImageClassifier().predict(X)
    with pytest.raises(sn.UserError, match="the network was trained on 1x8x8"):
        fitted.predict(X[:, :4])
    with pytest.raises(sn.UserError, match=r"y has shape \(11,\); expected a label for each of 12 images"):
        fitted.score(X, Y[:-1])
    with pytest.raises(sn.UserError, match=r"^sample_weight has shape \(2,\); expected a weight for each of"):
        fitted.score(X, Y, sample_weight=[1.0, 2.0])
    with pytest.raises(sn.UserError, match=r"^sample_weight has sum 0: give some image a weight$"):
        fitted.score(X, Y, sample_weight=[0.0] * len(Y))


@pytest.mark.slow
def test_it_needs_no_scikit_learn():
    code = "import sys; import supernet as sn; sn.ImageClassifier(); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scikit_learn_takes_it_for_a_classifier():
    base = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    from sklearn.model_selection import cross_val_score
    from sklearn.utils import estimator_checks as checks

    one = sn.ImageClassifier(**SMALL)
    assert base.is_classifier(one)
    assert base.clone(one).get_params() == one.get_params()
    with pytest.warns(checks.SkipTestWarning, match="requires input"):  # of one that takes no tables of features
        checks.check_estimator(one)
    for check in (
        "no_attributes_set_in_init",
        "get_params_invariance",
        "set_params",
        "parameters_default_constructible",
    ):
        getattr(checks, f"check_{check}")("ImageClassifier", sn.ImageClassifier())
    assert len(cross_val_score(one, *images(36), cv=2)) == 2
