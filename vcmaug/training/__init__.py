"""Training of priors and controls: one resumable loop, three objectives."""
