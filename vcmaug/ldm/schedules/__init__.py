"""The kinds of priors, one module each."""
