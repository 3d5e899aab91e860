"""Scorers: how a denoiser judges an image, one module for each."""
