"""One module a figure: from a run to a picture with its title, its caption and its numbers."""
