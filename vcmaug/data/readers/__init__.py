"""Readers: from a layout on disk to raw cases; one file per layout.

Each reader lists what it finds and adds a sentence to `faults` for what it cannot use; `prepare`
raises all of them together.
"""
