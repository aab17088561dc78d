"""Protects anybody's inference network: `obfnet protect`, and `protect()` in Python."""
