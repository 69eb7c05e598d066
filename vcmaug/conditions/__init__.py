"""Conditions: what the generator is asked for. This room knows nothing of networks.

The package is also the function `vcmaug.conditions(...)`; see `vcmaug.face.conditions.conditions`.
"""

from vcmaug.doors import make_callable

make_callable(__name__, "vcmaug.face.conditions:conditions")
