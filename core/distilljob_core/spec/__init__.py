"""The DistillJob resource: types, defaults, limits, one doc string per field."""
