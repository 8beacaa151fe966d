"""What the person running a command can put right, and the version; imports nothing, so help is quick."""

from __future__ import annotations

VERSION = "0.1.0"


class Refusal(Exception):
    """What is wrong, where, and what to do next, in one line."""
