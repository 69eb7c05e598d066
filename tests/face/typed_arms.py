"""What a type checker must accept and refuse; `make check` reads it, nothing runs it."""

import vcmaug as va
from vcmaug.arms.base import Arm
from vcmaug.cohort.cohort import Cohort
from vcmaug.conditions.conditions import Conditions


def arms(cohort: Cohort, asked: Conditions) -> list[Arm]:
    va.Synthetic(asked)  # type: ignore[arg-type]
    va.Deformed(cohort)  # type: ignore[arg-type]
    return [va.Synthetic(cohort), va.Deformed(asked), va.Synthetic(), va.Deformed()]
