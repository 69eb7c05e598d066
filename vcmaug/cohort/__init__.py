"""Cohorts: synthetic cases in a folder, with a manifest that says where each came from."""
