"""Controls: small trainable modules that steer a frozen denoiser towards a condition."""
