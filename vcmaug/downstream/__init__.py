"""The study: segmentation networks with and without a cohort, on subjects nobody touched."""
