"""The registration of hosts to the template of a lesion atlas, one host at a time."""

from dataclasses import dataclass
from pathlib import Path

from vcmaug.data.nifti import read_image
from vcmaug.data.registration import register

__all__ = ["HostToTemplate", "register_host"]


@dataclass(frozen=True)
class HostToTemplate:
    """A source to be registered to the template of an atlas."""

    case_id: str
    image: Path
    template: Path
    out: Path

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"registration of case {self.case_id}"


def register_host(pair: HostToTemplate) -> None:
    """Register one source to a template and keep the result."""
    register(
        read_image(pair.image, case_id=pair.case_id),
        read_image(pair.template, case_id="the template of the atlas"),
        names=(f"case {pair.case_id}", f"the template {pair.template}"),
    ).write(pair.out)
