"""A package that is not diffect's: one class and one YAML for each part that it adds."""
