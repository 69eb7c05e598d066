"""Layouts in which a cohort can be written for other tools, one file each."""
