"""From repos to documents: list, fetch, filter, parse, order and screen source code."""
