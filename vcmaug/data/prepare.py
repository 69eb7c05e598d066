"""`prepare`: somebody's images and label maps, checked as a whole, onto one grid.

First every file is read and every fault is listed; only a faultless set is written. It leaves
images/, labels/, cases.parquet with cases.csv beside it, and prepare.json.
"""

from pathlib import Path

from vcmaug.data.case_table import write_table_of_cases
from vcmaug.data.cases import Cases
from vcmaug.data.checking import faults_of_case, find_cases
from vcmaug.data.source import DataSettings
from vcmaug.data.writing import write_case
from vcmaug.errors import FaultyDataSet
from vcmaug.files import write_json
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions

__all__ = ["DataSettings", "prepare"]


def prepare(settings: DataSettings, out: Path, *, report: Report = silent) -> Cases:
    """Read, check, and write a data set; return its cases.

    Args:
        settings: What to read and how.
        out: Gets images/, labels/, cases.parquet, cases.csv and, last, prepare.json.
        report: Told after every case, in both passes.

    Raises:
        FaultyDataSet: Every fault of the set, each with its case and file; nothing is written.
    """
    scheme, values = settings.label_scheme(), settings.number_of_value()
    faults: list[str] = []
    found = find_cases(settings, faults)
    for number, case in enumerate(found, start=1):
        faults += faults_of_case(case, settings, values=values)
        report(Progress("checking cases", number, len(found)))
    if faults:
        raise FaultyDataSet(
            f"preparing {settings.source}",
            faults,
            advice="Nothing was written. Correct or remove these cases and run again.",
        )
    cases = []
    for number, case in enumerate(found, start=1):
        cases.append(write_case(case, settings, scheme=scheme, values=values, out=out))
        report(Progress("preparing cases", number, len(found)))
    write_table_of_cases(out, cases)
    about = {
        "settings": settings.model_dump(mode="json"),
        "scheme": scheme.to_json(),
        "source_values": list(scheme.source_values),
        "num_cases": len(cases),
        "versions": versions(),
    }
    write_json(out / "prepare.json", about)
    return Cases.open(out)
