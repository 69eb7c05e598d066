"""Arms of the study, and the refusal of leaks.

What it is: which data an arm trains on, and every way a cohort could have seen a test subject.
In the flow: before any training of the study.
Sources: none.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import DataError, LeakError, list_faults

__all__ = ["ARMS", "ArmName", "refuse_leaks", "uses_cohort"]

ArmName = Literal["real", "real+synthetic", "real+warped"]
ARMS: tuple[ArmName, ...] = ("real", "real+synthetic")


def uses_cohort(arm: ArmName) -> bool:
    """Return whether an arm trains on a cohort too."""
    return arm != "real"


def refuse_leaks(
    cohort: Path,
    *,
    labelled_subjects: Sequence[str],
    held_out_subjects: Sequence[str],
    scheme: LabelScheme,
) -> None:
    """Refuse a cohort that a study cannot use.

    Args:
        cohort: A finished cohort.
        labelled_subjects: The n subjects of the replicate; its control and its conditions may have
            seen the labels of these alone (and of a pretraining on other data, which it must name).
        held_out_subjects: Subjects of test and validation.
        scheme: Of the study.

    Raises:
        LeakError: Prior, control, or conditions have seen a held-out subject, or labels beyond
            the replicate's own; every such subject is named.
        DataError: The cohort speaks another scheme.
    """
    card = read_cohort_card(cohort)
    if card["scheme"] != scheme.to_json():
        raise DataError(
            f"using cohort {cohort}: its structures {[s['name'] for s in card['scheme']]} are not "
            f"the study's {list(scheme.names)}."
        )
    manifest = read_manifest(cohort)
    seen = {role: set(subjects) for role, subjects in card["subjects"].items()}
    for text in manifest["source_subject_ids"].unique():
        seen.setdefault("conditions", set()).update(json.loads(text))
    held_out, labelled = set(held_out_subjects), set(labelled_subjects)
    faults = [
        f"subject {subject} of test or validation was seen by the {role}"
        for role in sorted(seen)
        for subject in sorted(seen[role] & held_out)
    ]
    faults += [
        f"subject {subject} is a source of conditions and not one of the {len(labelled)} labelled"
        for subject in sorted(seen.get("conditions", set()) - labelled - held_out)
    ]
    if set(card["labelled_subjects"]) != labelled:
        faults.append(
            f"its control was trained on the labels of {len(card['labelled_subjects'])} subjects "
            f"that are not exactly the {len(labelled)} of this replicate"
        )
    beyond = seen.get("control", set()) - labelled - held_out
    if beyond and not card.get("control_pretrained_on"):
        faults.append(f"its control has seen {len(beyond)} further subjects and names no source")
    if faults:
        raise LeakError(
            list_faults(
                f"using cohort {cohort} in a study",
                faults,
                advice="Train the control and build the conditions on the replicate's own cases.",
            )
        )
