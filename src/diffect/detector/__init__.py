"""How a detector is built of its parts, trained, calibrated and tested, and how it predicts."""
