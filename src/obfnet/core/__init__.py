"""What every other package stands on: errors, input specs, registries, atomic files, result files.

Imports nothing of ObfNet and no torch, so that a device can carry it.
"""
