"""Rivals: makers of images without diffusion; a condition in, a generated case out."""
