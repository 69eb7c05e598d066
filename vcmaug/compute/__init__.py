"""Where work runs, and running it there; the only room that knows Dask."""

from vcmaug.compute.memory import keep_freed_memory, peak_memory
from vcmaug.compute.run import run_all
from vcmaug.compute.where import Compute, resolve_compute

__all__ = ["Compute", "keep_freed_memory", "peak_memory", "resolve_compute", "run_all"]
