"""`supernet landscape | strength | rank`: studies of a search."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Annotated, Any

from tyro.conf import arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, of_a_search, option, parse


def landscape(given: Arguments) -> None:
    """Draw the loss around the alphas of a search."""
    from supernet.report import console as show
    from supernet.searching import studies

    about = "Draw the loss around the alphas of a search."
    run, choices = _asked("landscape", about, studies.LandscapeConfig(), given)
    found = studies.landscape(run, **choices)
    console = show.Console()
    losses = [loss for row in found.losses for loss in row]
    show.line(console, f"loss          {min(losses):.4f} to {max(losses):.4f} on the grid")
    show.line(console, f"path          {100 * found.explained:.1f} % of its variance lies in the plane")
    show.line(console, f"picture       {run}/landscape.svg (landscape.json)")
    show_next(console, "landscape", run)


def strength(given: Arguments) -> None:
    """Compare the op weights of a search with the strength of its operations."""
    from supernet.report import console as show
    from supernet.searching import studies

    about = "Compare the op weights of a search with the strength of its operations."
    run, choices = _asked("strength", about, studies.StrengthConfig(), given)
    found = studies.strength(run, **choices)
    console = show.Console()
    tau = "none: all weights, or all accuracies, are equal"
    if found.tau is not None:
        tau = f"{found.tau:.2f} (Kendall's tau, mean over the edges)"
    show.line(console, f"correlation   {tau}")
    show.line(
        console, f"agreement     the largest weight is the best operation on {found.agreeing} of {found.edges} edges"
    )
    show.line(console, f"supernet      {100 * found.supernet:.2f} % with everything mixed")
    show.line(console, f"picture       {run}/strength.svg (strength.json)")
    show_next(console, "strength", run)


def rank(given: Arguments) -> None:
    """Compare one-shot accuracies in a search with a table's."""
    from supernet.report import console as show
    from supernet.searching import studies

    about = "Compare one-shot accuracies in a search with a table's."
    run, choices = _asked("rank", about, studies.RankingConfig(), given, spread=False)
    found = studies.rank(run, **choices)
    console = show.Console()
    whole, best, config = found.whole, found.best_half, found.config
    show.line(console, f"architectures {len(found.indices)} ({config.sampler}), evaluated on {found.images} images")
    show.line(console, f"correlation   {_both(whole.tau, best.tau)} (Kendall's tau of one-shot and {config.truth})")
    show.line(console, f"by size       {_both(whole.params_tau, best.params_tau)} (of parameters and {config.truth})")
    for name, score in found.zero_cost.items():
        alone, combined = _both(*score.alone), _both(*score.combined)
        show.line(console, f"{name:<13} {alone}; with the one-shot accuracy {combined}")
    show.line(console, f"pairs         {_both(whole.pairs, best.pairs, percent=True)} in the right order")
    top = f"the {config.top} highest one-shot accuracies"
    show.line(console, f"regret        {whole.regret:.2f} points from the best of {top} to the best there is")
    show.line(console, f"picture       {run}/rank.svg (rank.json)")
    show_next(console, "rank", run)


def _both(whole: float | None, best: float | None, *, percent: bool = False) -> str:
    """Return a measure over all architectures and among the best half as text."""
    scale, form = (100, "{:.1f} %") if percent else (1, "{:.2f}")
    texts = ["none" if value is None else form.format(scale * value) for value in (whole, best)]
    return f"{texts[0]}, among the truly best half {texts[1]}"


def _asked(
    command: str, about: str, config: Any, given: Arguments, *, spread: bool = True
) -> tuple[str, dict[str, Any]]:
    """Return the folder of the search and the arguments of the study, `workers` among them if work can be `spread`."""
    from supernet.report import progress

    fields: list[Any] = [
        *of_a_search(),
        *[("workers", option(int, "processes that share the work"), 1)] * spread,
        ("config", Annotated[type(config), arg(name="")], config),
    ]
    call = vars(parse(command, make_dataclass("Study", fields, namespace={"__doc__": about}), given))
    import_own(given)
    return call.pop("run"), call | {"callbacks": [progress.display(quiet=False)]}
