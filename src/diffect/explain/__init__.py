"""Why an image got its score: one picture and one JSON file for each."""
