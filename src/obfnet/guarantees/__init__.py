"""What a protection promises against every attacker: pure functions, each with its source and its limits.

Nothing in here measures anything, and nothing that is measured is in here. A statement names what it assumes
and what it does not cover, and is passed on with them.
"""
