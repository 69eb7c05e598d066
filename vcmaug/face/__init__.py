"""The face: what a notebook or a script imports, in terms of the rooms below; see `vcmaug`."""
