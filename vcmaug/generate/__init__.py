"""Generation: a plan of requests, fixed micro-batches, shards, and the workers that draw them.

The package is also the function `vcmaug.generate(...)`; see `vcmaug.face.drawing.generate`.
"""

from vcmaug.doors import make_callable

make_callable(__name__, "vcmaug.face.drawing:generate")
