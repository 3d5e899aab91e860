"""Exact figures of a detector from raw scores: curves, pixels, bootstrap intervals, conformal threshold.

Nothing here imports torch, so that audits and reports can count alike.
"""
