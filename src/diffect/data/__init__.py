"""Samples and their sources, the cache of decoded samples, the audit, and the DataModule."""
