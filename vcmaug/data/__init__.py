"""Volumes, labels, cases and splits: from files on disk to one grid."""
