"""Training of inference and obfuscation networks: resumable, deterministic by seed on one machine.

Every choice is made on the validation split; test samples are never read here.
"""
