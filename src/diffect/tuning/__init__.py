"""Settings chosen without the test set: candidates, evidence from synthetic defects, one choice for all categories."""
