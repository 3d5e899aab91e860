"""What a config may hold: types with bounds, the check of a value, and the static reading of constructors."""
