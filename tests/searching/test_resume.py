"""A search that is killed at any moment and started again with the same command ends with the same bits.

Every search here is a process of its own. Searches that die at an exact place are forked from one program, which has
run a search before, so that a fork imports nothing. A place is "step:3", right after the third step, or "rename:5",
right before the fifth file gets its name.
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

from conftest import Call
from supernet.engine.checkpoints import START_OVER
from supernet.engine.run import Run

pytestmark = pytest.mark.slow

DIGITS = ["search", "digits", "--images", "48", "--batch-size", "8", "--epochs", "2", "--width", "2", "--device", "cpu"]
STEPS = 6  # in all: 3 in each epoch
# Config and environment; 4 checkpoints in each epoch, each moving the one before; genotype, summary and page
RENAMES = 21
KILLED = -signal.SIGKILL
STOPPED = "supernet: stopped; the same command goes on from here\n"
METHODS = {
    "single-darts": [],
    "with a target": ["--target-params", "200k"],
    "darts": ["--method", "darts"],
    "darts-2nd": ["--method", "darts-2nd"],
    "darts-plus": ["--method", "darts-plus", "--alpha.lr", "0.02", "--epochs", "4"],
    "random": ["--method", "random", "--epochs-each", "1", "--epochs", "4"],
    "zarts-mgs": ["--method", "zarts-mgs", "--steps", "2", "--every", "2", "--target-flops", "500k"],
    "with noise": ["--space", "supernet.testing.examples:NOISY"],  # draws from the global random state
}
SAID = {  # at the end of a search
    "darts-plus": "supernet: back to epoch 2, the last one with fewer\n"
    "supernet: stopped after epoch 3: the cell has 2 skip connections\n"
}

FORGE = '''
import contextlib, functools, io, json, os, signal, sys, tempfile
from pathlib import Path
os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads must not be forked
import torch
from supernet import cli
from supernet.searching import results, task
from supernet.testing import examples
from supernet.engine import driving, loop, run

examples.NOISY = examples.two_input_space()
results._pictures = lambda *arguments: None  # they take most of the time

def at(owner, name, count, act, after):
    """Do `act` at the `count`-th call of a method, before it or after it."""
    real, calls = getattr(owner, name), []
    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == count and not after:
            act(*arguments)
        result = real(*arguments, **options)
        if len(calls) == count and after:
            act(*arguments)
        return result
    setattr(owner, name, counted)

def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def tear(run, row):
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row)[:40])
    kill()

def interrupt(*arguments):
    os.kill(os.getpid(), signal.SIGINT)

def interrupt_twice(*arguments):
    interrupt(), interrupt()

def end(number, *arguments):
    os.kill(os.getpid(), number)

PLACES = {
    "step": (loop.Loop, "_step", kill, True),
    "log": (run.Run, "log", kill, True),
    "back": (task.SearchTask, "roll_back", kill, True),
    "remove": (run.Run, "keep_snapshots", kill, False),
    "tear": (run.Run, "log", tear, False),
    "write": (os, "fsync", kill, False),
    "rename": (Path, "replace", kill, False),
    "interrupt": (loop.Loop, "_step", interrupt, True),
    "term": (loop.Loop, "_step", functools.partial(end, signal.SIGTERM), True),
    "hup": (loop.Loop, "_step", functools.partial(end, signal.SIGHUP), True),
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
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            status = 1
            try:
                status = search(arguments, place)
            finally:
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        errors.seek(0)
        return [status, errors.read().decode()]

with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    search([*json.loads(sys.argv[1]), "--quiet", "--out", f"{folder}/run"], None)
for line in sys.stdin:
    print(json.dumps(forked(*json.loads(line))), flush=True)
'''

Search = Callable[..., tuple[int, str]]
Results = dict[str, object]


@pytest.fixture(scope="module")
def search() -> Iterator[Search]:
    """Run a command line, which dies at `place` if one is named; return its exit status and its messages."""
    command = [sys.executable, "-c", FORGE, json.dumps(DIGITS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forge:
        assert forge.stdin is not None
        assert forge.stdout is not None

        def run(out: Path, *arguments: str, place: str | None = None) -> tuple[int, str]:
            forge.stdin.write(json.dumps([[*DIGITS, *arguments, "--quiet", "--out", str(out)], place]) + "\n")
            forge.stdin.flush()
            status, messages = json.loads(forge.stdout.readline())
            return status, messages

        yield run
        forge.stdin.close()


def without_seconds(value: object) -> object:
    """Return nested values as plain lists, without times, so that == compares every bit."""
    if isinstance(value, dict):
        return {name: without_seconds(part) for name, part in value.items() if name != "seconds"}
    if isinstance(value, list | tuple):
        return [without_seconds(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def results_of(folder: Path) -> Results:
    """Return the contents of the folder of a finished run, without times and environment."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    state = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    del files["checkpoints/last.pt"], files["checkpoints/previous.pt"], files["environment.json"], files[".lock"]
    files = {
        name: content for name, content in files.items() if not name.endswith("report.html")
    }  # has times and folder
    rows, summary = files.pop("metrics.jsonl").decode(), files.pop("summary.json").decode()
    return {
        **files,
        "rows": [without_seconds(json.loads(row)) for row in rows.splitlines()],
        "summary": without_seconds(json.loads(summary)),
        "state": without_seconds(state),
    }


@pytest.fixture(scope="module")
def whole(search: Search, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """Return the results of each method without an interruption, saved at the end of each epoch only."""
    folder = tmp_path_factory.mktemp("whole")
    for method, arguments in METHODS.items():
        assert search(folder / method, *arguments) == (0, SAID.get(method, ""))
    return {method: results_of(folder / method) for method in METHODS}


def test_the_compared_results_depend_on_the_seed_alone(
    search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    assert search(tmp_path / "same") == search(tmp_path / "other", "--seed", "1") == (0, "")
    same, other, first = results_of(tmp_path / "same"), results_of(tmp_path / "other"), whole["single-darts"]
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
    *("rename:1", "rename:2"),  # config and environment
    *("rename:3", "rename:4", "rename:5", "rename:8", "rename:9"),  # the first, the second and the last of an epoch
    *("rename:14", "rename:15", "rename:16", "rename:17"),  # within the second epoch, and the last of the search
    *("rename:18", "rename:19", "rename:20"),  # memory, genotype and summary
    *("step:1", "step:3", "step:4", f"step:{STEPS}"),  # before any checkpoint, and at both ends of the epochs
    *("log:2", "tear:1", "tear:2", "write:1", "write:4"),
]


@pytest.mark.parametrize("place", KILLS)
def test_a_killed_search_ends_with_the_same_bits(
    place: str, search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    assert search(tmp_path / "run", place=place) == (KILLED, "")
    assert search(tmp_path / "run") == (0, "")
    assert results_of(tmp_path / "run") == whole["single-darts"]


def test_there_are_no_more_renames(search: Search, tmp_path: Path) -> None:
    assert search(tmp_path / "run", place=f"rename:{RENAMES + 1}") == (0, "")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_killed_in_each_epoch(
    method: str, search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    last = 3 * len(whole[method]["rows"])
    for place in ("step:2", "log:1", f"step:{last - 4}"):  # the last run starts after step 3
        assert search(tmp_path / "run", *METHODS[method], place=place) == (KILLED, "")
    assert search(tmp_path / "run", *METHODS[method]) == (0, SAID.get(method, ""))
    assert results_of(tmp_path / "run") == whole[method]


# Each epoch has 4 checkpoints and, before the last of them, a snapshot: 8 and 17. The third goes back instead.
@pytest.mark.parametrize("place", ["rename:18", "remove:8", "back:1", "rename:27", "remove:12"])
def test_a_search_killed_around_a_roll_back(
    place: str, search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    assert search(tmp_path / "run", *METHODS["darts-plus"], place=place) == (KILLED, "")
    stopped = SAID["darts-plus"] if place != "remove:12" else SAID["darts-plus"].splitlines(keepends=True)[1]
    assert search(tmp_path / "run", *METHODS["darts-plus"]) == (0, stopped)
    assert results_of(tmp_path / "run") == whole["darts-plus"]


def test_a_search_killed_again_and_again(search: Search, whole: dict[str, Results], tmp_path: Path) -> None:
    for place in ("rename:1", "step:1", "rename:2", "step:1", "write:1", "log:1", "step:2", "tear:1", "log:1"):
        assert search(tmp_path / "run", place=place) == (KILLED, "")
    assert search(tmp_path / "run") == (0, "")
    assert results_of(tmp_path / "run") == whole["single-darts"]


def test_a_search_killed_while_it_is_started_over(search: Search, whole: dict[str, Results], tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--seed", "1") == (0, "")
    assert search(tmp_path / "run", "--force", place="rename:1") == (KILLED, "")
    assert search(tmp_path / "run", "--force") == (0, "")
    assert results_of(tmp_path / "run") == whole["single-darts"]


@pytest.mark.parametrize(
    "place",
    ["interrupt:1", "interrupt:3", f"interrupt:{STEPS}", "twice:2", "twice-saving:9", "term:2", "hup:3"],
)
def test_an_interrupted_search_ends_with_the_same_bits(
    place: str, search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    status = {"term": 143, "hup": 129}.get(place.split(":")[0], 130)
    assert search(tmp_path / "run", place=place) == (status, STOPPED)
    assert search(tmp_path / "run") == (0, "")
    assert results_of(tmp_path / "run") == whole["single-darts"]


def test_a_search_interrupted_after_it_was_started_over_says_how_it_goes_on(
    search: Search, whole: dict[str, Results], tmp_path: Path
) -> None:
    stopped = STOPPED.replace("the same command", "the same command without --force")
    assert search(tmp_path / "run", "--force", place="interrupt:4") == (130, stopped)
    assert len(Run(tmp_path / "run").metrics) == 1
    assert search(tmp_path / "run") == (0, "")
    assert results_of(tmp_path / "run") == whole["single-darts"]


def test_damaged_checkpoints(search: Search, whole: dict[str, Results], tmp_path: Path) -> None:
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
    assert results_of(run) == whole["single-darts"]
    refused = f"supernet: every checkpoint in '{alone / 'checkpoints'}' is damaged: {START_OVER}\n"
    assert search(alone) == (2, refused)
    assert search(alone, "--force") == (0, "")
    assert results_of(alone) == whole["single-darts"]


# --- the program, stopped from outside at no exact place, with pictures

LONG = [*DIGITS, "--images", "240", "--epochs", "6", "--out"]  # long enough for the signals to come before the end


def stopped_after(epoch: int, how: signal.Signals, out: Path) -> tuple[list[str], str, int]:
    """Run the program and stop it after an epoch; return its lines up to there, its messages and its exit status."""
    with subprocess.Popen(
        [sys.executable, "-m", "supernet", *LONG, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not lines[-1].startswith(f"epoch {epoch}/6  loss "):
            lines.append(process.stdout.readline())
        process.send_signal(how)
        messages = process.communicate()[1]
    return lines, messages, process.returncode


def test_the_program_stopped_from_outside(call: Call, tmp_path: Path) -> None:
    lines, messages, status = stopped_after(1, signal.SIGKILL, tmp_path / "run")
    assert (messages, status) == ("", KILLED)
    assert [line.split()[0] for line in lines] == ["read", "running", "epoch"]
    lines, messages, status = stopped_after(3, signal.SIGINT, tmp_path / "run")
    assert (messages, status) == (STOPPED, 130)
    assert lines[2].startswith("continuing after step ")
    assert not (tmp_path / "run" / "summary.json").exists()
    for folder, third_line in (("run", "continuing after step "), ("undisturbed", "epoch 1/6  loss ")):
        status, out, messages = call(*LONG, str(tmp_path / folder))
        assert (status, messages, out.splitlines()[2].startswith(third_line)) == (0, "", True)
    undisturbed = results_of(tmp_path / "undisturbed")
    assert set(undisturbed) >= {"cell.svg", "search.svg"}
    assert results_of(tmp_path / "run") == undisturbed
