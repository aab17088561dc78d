"""The audit: attacks an obfuscation, and says how much leaks, how sure that is and against what."""
