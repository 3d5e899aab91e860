"""Exact figures of a detector from raw scores: curves, pixels, bootstrap intervals, conformal threshold.

Only `detection` imports torch; everything else is numpy, so that reports need no torch.
"""
