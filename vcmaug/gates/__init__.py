"""Gates in front of a study: is there enough to stand on? The first that fails names the cause.

Everything is measured on validation subjects, none on those of the test.
"""
