"""Settings of priors, controls and their training are read without torch."""

import subprocess
import sys

import pytest

LIGHT = (
    "vcmaug.ldm.spec",
    "vcmaug.training.settings",
    "vcmaug.released.brainldm",
    "vcmaug.data.seen",
    "vcmaug.seeding",
    "vcmaug.control.methods.vcm",
    "vcmaug.control.methods.controlnet",
)


@pytest.mark.parametrize("module", LIGHT)
def test_they_load_no_torch(module: str) -> None:
    heavy = "{'torch', 'monai', 'accelerate'}"
    probe = f"import sys, {module}; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
