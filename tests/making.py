"""Making artefacts in tests: in this process, and said to nobody."""

from collections.abc import Callable

from vcmaug.compute import Compute
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.work import Work

HERE = Compute("in-process")


def make(artefact: Artefact, *, say: Callable[[str, bool], None] | None = None) -> bool:
    """Make an artefact; return whether it was made."""
    return artefact.make(Run(HERE, say or (lambda name, made: None)))


def prepare(work: Work) -> bool:
    """Make the cases and their splits; return whether the cases were made."""
    said: dict[str, bool] = {}
    make(Graph(work).splits, say=said.__setitem__)
    return said.get("cases", False)
