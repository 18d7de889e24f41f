"""The command line: one file a verb. A command parses, calls one function and prints."""

from bulkmig.cli.app import main

__all__ = ["main"]
