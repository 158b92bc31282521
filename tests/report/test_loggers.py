"""Loggers: each epoch is written once, also by a run that is interrupted, with the cell at the end."""

from __future__ import annotations

import csv
import importlib.util
import io
from types import SimpleNamespace
from typing import ClassVar

import pytest

import supernet as sn
from report.figures import legend
from supernet.report import plots
from supernet.report.loggers import LOGGERS, Logger, Place, _cell, loggers
from supernet.searching import results
from supernet.spaces import architecture, space

CALL = {"images": 60, "batch_size": 30, "width": 2, "device": "cpu", "quiet": True}


class Stop(sn.Callback):
    """Presses Ctrl-C at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.at = epoch

    def epoch(self, row):
        if row["epoch"] == self.at:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Let every package write below an empty folder, and to no server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def in_csv(folder):
    with (folder / "metrics.csv").open() as file:
        return [(int(row["epoch"]), float(row["loss"])) for row in csv.DictReader(file)], []


def in_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")], events.Tags()["images"]


def in_mlflow(folder):
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    (experiment,) = [found for found in client.search_experiments() if found.name == "supernet"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.data.params["w.lr"]) == (folder.name, "0.025")
    points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
    assert run.info.status == "FINISHED"
    return points, [file.path.removesuffix(".png") for file in client.list_artifacts(run.info.run_id)]


def records(log):
    """Yield the records of a file in LevelDB's log format: blocks of 32 kB, a record in one part or several."""
    place, record = 7, b""  # behind the header
    while place + 7 <= len(log):
        if 2**15 - place % 2**15 < 7:  # no room for a part
            place += 2**15 - place % 2**15
        size, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        record += log[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # the whole record, or its last part
            yield record
            record = b""


def in_wandb(folder):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # waits until the process that writes the files has ended
    points, pictures, ids = [], [], set()
    for file in sorted(folder.parent.glob("wandb/offline-run-*/run-*.wandb")):
        ids.add(file.stem)
        for data in records(file.read_bytes()):
            record = Record.FromString(data)
            row = {(item.key or item.nested_key[0]): item.value_json for item in record.history.item}
            points += [(int(row["epoch"]), float(row["loss"]))] if "loss" in row else []
            pictures += [name for name in row if name == "cell"]
    assert len(ids) == 1
    return points, pictures


READ = {"csv": in_csv, "tensorboard": in_tensorboard, "mlflow": in_mlflow, "wandb": in_wandb}


@pytest.mark.filterwarnings("default")  # of the packages
@pytest.mark.parametrize("name", LOGGERS)
def test_an_interrupted_run_has_each_epoch_once(name, offline, tmp_path):
    if name != "csv" and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    out = tmp_path / "run"
    for at, log in ((1, ""), (3, name)):  # the first epoch is done before anyone asks for the log
        with pytest.raises(KeyboardInterrupt):
            sn.search("digits", epochs=4, out=out, callbacks=[Stop(at)], log=log, **CALL)
    run = sn.search("digits", epochs=4, out=out, log=name, **CALL)
    points, pictures = READ[name](out)
    assert points == [(row["epoch"], pytest.approx(row["loss"])) for row in run.metrics]
    assert pictures == ([] if name == "csv" else ["cell"])
    run = sn.search("digits", epochs=5, out=out, log=name, **CALL)  # the picture must not take the place of an epoch
    assert READ[name](out)[0] == [(row["epoch"], pytest.approx(row["loss"])) for row in run.metrics]
    sn.search("digits", epochs=4, out=out, force=True, callbacks=[], **CALL)
    left = {file.name for file in out.iterdir()} & {"metrics.csv", "tensorboard", "mlflow.json", "wandb.json"}
    assert not left


class Kept(Place):
    """A place that keeps what it gets."""

    places: ClassVar[list[Kept]] = []

    def __init__(self, run):
        super().__init__(run)
        self.got = []
        self.places.append(self)

    def epoch(self, epoch, numbers):
        self.got.append(epoch)

    def picture(self, name, figure):
        self.got.append(name)

    def close(self, *, finished):
        self.got.append(finished)


def test_a_selection_of_a_search_has_a_place_of_its_own(tmp_path):
    Kept.places.clear()
    call = CALL | {"epochs": 1, "method": "darts", "selector": "perturbation", "select": {"tune_epochs": 0}}
    logger = Logger("kept", Kept)
    run = sn.search("digits", out=tmp_path / "run", callbacks=[logger], **call)
    search, selection = Kept.places
    assert search.got == [1, "cell", True]
    assert selection.run.path.parent == run.path / "selections"
    assert selection.got == [*(row["epoch"] for row in selection.run.metrics), "cell", True]
    assert logger.open == []
    sn.search("digits", out=tmp_path / "run", callbacks=[Logger("kept", Kept)], **call)  # it had finished before
    assert Kept.places[2].got == [1, "cell", True]


@pytest.mark.parametrize("name", ["darts", "my_spaces:own"])
def test_the_picture_of_the_cell_is_that_of_the_run_folder(name):
    genotype = architecture("DARTS_V2")[1]
    drawn = _cell(SimpleNamespace(genotype=genotype, config={"space": name}))
    if name == "darts":
        wanted = plots.draw_architecture(space("darts"), genotype)
    else:
        wanted = plots.draw_cell(genotype, {choice.op for _, choices in genotype.cells for choice in choices})
    assert svg(drawn) == svg(wanted)
    assert ("to the output" in legend(drawn)) == (name == "darts")


def svg(figure):
    file = io.BytesIO()
    plots.write_svg(figure, file)
    return file.getvalue()


def test_several_loggers_are_named_with_commas():
    assert loggers("") == loggers(" ") == []
    assert [logger.name for logger in loggers("csv, csv")] == ["csv"]
    with pytest.raises(sn.UserError, match="unknown logger 'cvs'; did you mean 'csv'"):
        loggers("csv,cvs")


def test_a_package_that_is_not_installed_is_one_line_before_anything_is_done(call, monkeypatch):
    monkeypatch.setattr("supernet.report.loggers.find_spec", lambda name: None)
    status, out, err = call("search", "digits", "--images", "60", "--log", "csv,wandb", "--out", "run")
    assert (status, out) == (2, "")
    assert err == "supernet: --log wandb needs the extra: pip install 'supernet[wandb]'\n"
