"""Scorers: how a denoiser makes anomaly scores of an image, one module for each."""
