"""Segmentation networks that a study can train, one file each."""
