"""A search that is killed anywhere, started again with the same command, ends with the same bits.

Every search here is a process of its own. Those that die at an exact place are forked from one program, which has
imported everything once: a place is "step:3", the moment after the third step, or "rename:5", the one before the
fifth file is put in its place.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

DIGITS = ["search", "digits", "--images", "48", "--batch-size", "8", "--epochs", "2", "--width", "2", "--device", "cpu"]
STEPS = 6  # of the whole search: 3 in each epoch
RENAMES = 19  # settings and environment; 4 checkpoints in each epoch, each moving the one before; two findings
KILLED = -signal.SIGKILL
STOPPED = "supernet: stopped; the same command goes on from here\n"
METHODS = {
    "single-darts": [],
    "darts": ["--method", "darts"],
    "darts-2nd": ["--method", "darts-2nd"],
    "random": ["--method", "random", "--epochs-each", "1", "--epochs", "4"],  # the second candidate is the best
    "zarts-mgs": ["--method", "zarts-mgs", "--steps", "2", "--every", "2", "--penalty", "flops=0.1"],
    "with noise": ["--space", "s4", "--width", "1"],  # an operation that draws from the global random state
}

FORGE = '''
import functools, json, os, signal, sys, tempfile
from pathlib import Path
import torch
from supernet import cli
from supernet.searching import results as findings, search as searching
from supernet.engine import driving, loop, run
from supernet.report import plots

torch.optim.SGD([torch.zeros(1)], lr=1.0)  # imports what the first optimizer of a process imports
findings._pictures = lambda *given: None  # they take most of the time

def at(owner, name, count, act, after):
    """Do `act` at the `count`-th call of a method, before it or after it."""
    real, calls = getattr(owner, name), []
    def counted(*given, **named):
        calls.append(1)
        if len(calls) == count and not after:
            act(*given)
        result = real(*given, **named)
        if len(calls) == count and after:
            act(*given)
        return result
    setattr(owner, name, counted)

def kill(*given):
    os.kill(os.getpid(), signal.SIGKILL)

def tear(run, row):
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row)[:40])
    kill()

def interrupt(*given):
    os.kill(os.getpid(), signal.SIGINT)

def interrupt_twice(*given):
    interrupt(), interrupt()

PLACES = {
    "step": (loop.Loop, "_step", kill, True),
    "log": (run.Run, "log", kill, True),
    "tear": (run.Run, "log", tear, False),
    "write": (os, "fsync", kill, False),
    "rename": (Path, "replace", kill, False),
    "interrupt": (loop.Loop, "_step", interrupt, True),
    "twice": (loop.Loop, "_step", interrupt_twice, True),
    "twice-saving": (Path, "replace", interrupt_twice, False),
}

def search(arguments, place):
    if place:
        name, count = place.split(":")
        owner, method, act, after = PLACES[name]
        at(owner, method, int(count), act, after)
        driving.Loop = functools.partial(loop.Loop, save_every=0)  # after every step
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return stop.code or 0
    return 0

def forked(arguments, place):
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(said.fileno(), 2)
            status = 1
            try:
                status = search(arguments, place)
            finally:
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return [status, said.read().decode()]

for line in sys.stdin:
    print(json.dumps(forked(*json.loads(line))), flush=True)
'''

Search = Callable[..., tuple[int, str]]
Found = dict[str, object]


@pytest.fixture(scope="module")
def search() -> Iterator[Search]:
    """Run a command line, dying at a place if one is named; return its exit status and what it said on stderr."""
    command = [sys.executable, "-c", FORGE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forge:
        assert forge.stdin is not None
        assert forge.stdout is not None

        def run(out: Path, *arguments: str, place: str | None = None) -> tuple[int, str]:
            forge.stdin.write(json.dumps([[*DIGITS, *arguments, "--quiet", "--out", str(out)], place]) + "\n")
            forge.stdin.flush()
            status, said = json.loads(forge.stdout.readline())
            return status, said

        yield run
        forge.stdin.close()


def without_seconds(value: object) -> object:
    """The same as plain lists, so that == compares every bit."""
    if isinstance(value, dict):
        return {name: without_seconds(part) for name, part in value.items() if name != "seconds"}
    if isinstance(value, list | tuple):
        return [without_seconds(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def found(folder: Path) -> Found:
    """Everything that a finished run holds and that must not depend on how often it was stopped."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    state = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    del files["checkpoints/last.pt"], files["checkpoints/previous.pt"], files["environment.json"]
    rows, summary = files.pop("metrics.jsonl").decode(), files.pop("summary.json").decode()
    return {
        **files,
        "rows": [without_seconds(json.loads(row)) for row in rows.splitlines()],
        "summary": without_seconds(json.loads(summary)),
        "state": without_seconds(state),
    }


@pytest.fixture(scope="module")
def whole(search: Search, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each method finds when it is left alone, and saves at the end of an epoch only."""
    folder = tmp_path_factory.mktemp("whole")
    for method, arguments in METHODS.items():
        assert search(folder / method, *arguments) == (0, "")
    return {method: found(folder / method) for method in METHODS}


def test_what_is_compared_is_the_same_for_a_seed_and_not_for_another(
    search: Search, whole: dict[str, Found], tmp_path: Path
) -> None:
    assert search(tmp_path / "same") == search(tmp_path / "other", "--seed", "1") == (0, "")
    same, other, first = found(tmp_path / "same"), found(tmp_path / "other"), whole["single-darts"]
    assert same == first
    assert set(first) == {"config.yaml", "genotype.json", "rows", "summary", "state"}
    assert len(first["rows"]) == 2
    assert set(first["state"]) >= {"task", "streams", "rng", "epoch", "done", "sums"}
    assert set(first["state"]["task"]["method"]) == {"supernet", "optimizer", "alphas", "alpha_optimizer"}
    for part in ("task", "streams", "rng"):
        assert other["state"][part] != first["state"][part]
    for part in ("rows", "config.yaml"):
        assert other[part] != first[part]


KILLS = [
    *(f"rename:{number}" for number in range(1, RENAMES + 1)),
    *(f"step:{number}" for number in range(1, STEPS + 1)),
    *("log:1", "log:2", "tear:1", "tear:2", "write:1", "write:4"),
]


@pytest.mark.parametrize("place", KILLS)
def test_a_search_killed_anywhere(place: str, search: Search, whole: dict[str, Found], tmp_path: Path) -> None:
    assert search(tmp_path / "run", place=place) == (KILLED, "")
    assert search(tmp_path / "run") == (0, "")
    assert found(tmp_path / "run") == whole["single-darts"]


def test_no_file_was_left_out_above(search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", place=f"rename:{RENAMES + 1}") == (0, "")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_killed_in_each_epoch(
    method: str, search: Search, whole: dict[str, Found], tmp_path: Path
) -> None:
    last = 3 * len(whole[method]["rows"])
    for place in ("step:2", "log:1", f"step:{last - 1}"):
        assert search(tmp_path / place, *METHODS[method], place=place) == (KILLED, "")
        assert search(tmp_path / place, *METHODS[method]) == (0, "")
        assert found(tmp_path / place) == whole[method]


def test_a_search_killed_again_and_again(search: Search, whole: dict[str, Found], tmp_path: Path) -> None:
    for place in ("rename:1", "step:1", "rename:2", "step:1", "write:1", "log:1", "step:2", "tear:1", "log:1"):
        assert search(tmp_path / "run", place=place) == (KILLED, "")
    assert search(tmp_path / "run") == (0, "")
    assert found(tmp_path / "run") == whole["single-darts"]


def test_a_search_killed_while_it_is_started_over(search: Search, whole: dict[str, Found], tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--seed", "1") == (0, "")
    assert search(tmp_path / "run", "--force", place="rename:1") == (KILLED, "")
    assert search(tmp_path / "run", "--force") == (0, "")
    assert found(tmp_path / "run") == whole["single-darts"]


@pytest.mark.parametrize("place", ["interrupt:1", "interrupt:3", f"interrupt:{STEPS}", "twice:2", "twice-saving:9"])
def test_a_search_interrupted(place: str, search: Search, whole: dict[str, Found], tmp_path: Path) -> None:
    assert search(tmp_path / "run", place=place) == (130, STOPPED)
    assert search(tmp_path / "run") == (0, "")
    assert found(tmp_path / "run") == whole["single-darts"]


def test_damaged_checkpoints(search: Search, whole: dict[str, Found], tmp_path: Path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    assert search(run, place="step:5") == (KILLED, "")
    last, previous = (run / "checkpoints" / name for name in ("last.pt", "previous.pt"))
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    alone.mkdir()
    for name in ("config.yaml", "environment.json", "metrics.jsonl"):
        (alone / name).write_bytes((run / name).read_bytes())
    (alone / "checkpoints").mkdir()
    (alone / "checkpoints" / "last.pt").write_bytes(previous.read_bytes()[:-100])

    assert search(run) == (0, f"supernet: checkpoint '{last}' is damaged; going on from the one before it\n")
    assert found(run) == whole["single-darts"]
    said = f"supernet: every checkpoint in '{alone / 'checkpoints'}' is damaged; --force starts the run over\n"
    assert search(alone) == (2, said)
    assert search(alone, "--force") == (0, "")
    assert found(alone) == whole["single-darts"]


# --- the program itself, stopped from outside at no exact place, with its pictures

LONG = [*DIGITS, "--images", "400", "--epochs", "6", "--out"]  # so that the signal comes before the end


def started(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "supernet", *LONG, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("long")
    process = started(folder / "run")
    shown, said = process.communicate()
    assert (process.returncode, said) == (0, "")
    assert shown.splitlines()[1].startswith("epoch 1/6  loss ")
    return found(folder / "run")


@pytest.mark.parametrize(("sent", "status", "said"), [(signal.SIGKILL, KILLED, ""), (signal.SIGINT, 130, STOPPED)])
def test_the_program_stopped_from_outside(
    sent: signal.Signals, status: int, said: str, undisturbed: Found, tmp_path: Path
) -> None:
    process = started(tmp_path / "run")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("running ")
    assert process.stdout.readline().startswith("epoch 1/6  loss ")
    process.send_signal(sent)
    assert process.communicate()[1] == said
    assert process.returncode == status
    again = started(tmp_path / "run")
    shown, warned = again.communicate()
    assert (again.returncode, warned) == (0, "")
    assert shown.splitlines()[1].startswith("continuing after step ")
    assert set(undisturbed) >= {"cell.svg", "search.svg"}
    assert found(tmp_path / "run") == undisturbed
