"""Where images come from: sources, the cache of decoded images, the audit, and the DataModule."""
