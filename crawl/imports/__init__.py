"""What a file imports, and which files of its repo that means: one module for every kind of language."""
