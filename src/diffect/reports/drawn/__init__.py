"""What of a study the figures and the page draw, and what they leave out; without matplotlib."""
