"""Quality of a cohort: does an image fit its label, and how far is it from real."""
