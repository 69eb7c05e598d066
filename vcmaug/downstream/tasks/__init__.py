"""Tasks that a study can measure, one file each."""
