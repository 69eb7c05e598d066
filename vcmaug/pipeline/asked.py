"""What was asked of artefacts that are there, where it is more than the recipe says.

`--n`, `--lazy`, `--accept` and `--seed` of one verb hold for the verbs after it; `run` goes by the
recipe alone.
"""

from pydantic import BaseModel

from vcmaug.generate.acceptance import Acceptance
from vcmaug.pipeline.artefact import Artefact
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.marker import Marker
from vcmaug.pipeline.work import Replicate, Work

__all__ = ["with_cohort_as_asked", "with_models_as_asked"]


class _Asked(BaseModel):
    """Those settings of a section that options can change; None: as the recipe says."""

    seed: int | None = None
    n: int | None = None
    lazy: bool | None = None
    acceptance: Acceptance | None = None


def _asked(artefact: Artefact, section: str) -> _Asked:
    """Return what an artefact that is there was made from."""
    marker = Marker.read(artefact.marker) if artefact.folder.exists() else None
    return _Asked.model_validate(marker.settings.get(section, {}) if marker else {})


def with_models_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with the prior's seed and the conditions' number as they were asked."""
    graph = Graph(work)
    prior = _asked(graph.prior, "prior")
    conditions = _asked(graph.conditions(replicate), "conditions")
    return work.changed(
        prior={"seed": prior.seed}, conditions={"n": conditions.n, "lazy": conditions.lazy}
    )


def with_cohort_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with number and acceptance of a cohort as they were asked, too."""
    asked = with_models_as_asked(work, replicate)
    drawn = _asked(Graph(asked).cohort(replicate), "generate")
    return asked.changed(generate={"n": drawn.n, "acceptance": drawn.acceptance})
