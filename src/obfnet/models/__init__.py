"""Inference networks that are somebody's own: opened, understood, and seen as ours are."""
