"""What was asked of artefacts that are there, where it is more than the recipe says.

`--n`, `--lazy`, `--accept` and `--seed` of one verb hold for the verbs after it; `run` goes by the
recipe alone.
"""

from typing import Any

from vcmaug.generate.acceptance import Acceptance
from vcmaug.pipeline.artefact import Artefact
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.work import Replicate, Work

__all__ = ["with_cohort_as_asked", "with_models_as_asked"]


def _recorded(artefact: Artefact[Any], section: str) -> dict[str, Any]:
    """Return the settings of one section that an artefact was made from; none: it is not there."""
    marker = artefact.recorded()
    found = {} if marker is None or not artefact.folder.exists() else marker.settings
    section_of: dict[str, Any] = found.get(section) or {}
    return section_of


def with_models_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with the prior's seed and the conditions' number as they were asked."""
    graph = Graph(work)
    prior = _recorded(graph.prior, "prior")
    conditions = _recorded(graph.conditions(replicate), "conditions")
    return work.changed(
        prior={"seed": prior.get("seed")},
        conditions={name: conditions.get(name) for name in ("n", "lazy")},
    )


def with_cohort_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with number and acceptance of a cohort as they were asked, too."""
    asked = with_models_as_asked(work, replicate)
    drawn = _recorded(Graph(asked).cohort(replicate), "generate")
    acceptance = drawn.get("acceptance")
    return asked.changed(
        generate={
            "n": drawn.get("n"),
            "acceptance": None if acceptance is None else Acceptance.model_validate(acceptance),
        }
    )
