"""The stress test: a segmenter on a sweep of one volume, before the patients come who have it."""
