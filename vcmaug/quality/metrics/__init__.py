"""Metrics of a cohort, one file each."""
