"""The frozen prior: schedule, denoiser, autoencoder, and the files they are kept in."""
