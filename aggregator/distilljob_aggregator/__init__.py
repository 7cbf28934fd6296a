"""The ensemble teacher: collects soft labels, closes cycles, serves the teacher."""
