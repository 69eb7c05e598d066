"""What stands in for networks and GPUs where the engine is measured; workers import it by name."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vcmaug.generate.worker import ShardDone, ShardTask

SECONDS_PER_SAMPLE = 0.1


def draw_asleep(task: "ShardTask") -> "ShardDone":
    """Draw a shard with all that belongs to it but networks: each sample takes a tenth second."""
    return _drawn(task, seconds=SECONDS_PER_SAMPLE)


def draw_at_once(task: "ShardTask") -> "ShardDone":
    """Draw a shard with all that belongs to it but networks, in no time."""
    return _drawn(task, seconds=0.0)


def _drawn(task: "ShardTask", *, seconds: float) -> "ShardDone":
    """Draw a shard; note when each draw began."""
    import numpy as np

    from vcmaug.generate import worker
    from vcmaug.generate.drawer import Drawer

    def images_of(drawer: Any, targets: Any, noise: Any, **others: Any) -> Any:
        began = time.time()
        (Path(task.folder) / f"began-{began:.6f}").touch()
        shape = targets[0].label_map.shape
        generator = np.random.default_rng(int(noise.ids[0].removeprefix("r")))
        images = generator.integers(0, 256, (len(targets), *shape), dtype=np.uint8)
        time.sleep(max(0.0, began + seconds * len(targets) - time.time()))  # what is left of it
        return images.astype(np.float32) / 255.0

    Drawer.__call__ = images_of  # type: ignore[method-assign]
    return worker.draw_shard(task)


def asleep(item: tuple[int, float]) -> tuple[float, float]:
    """Sleep as long as a shard takes on a GPU; return when that began and ended."""
    began = time.time()
    time.sleep(item[1])
    return began, time.time()
