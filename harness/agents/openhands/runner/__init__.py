"""What runs in the sandbox, by the toolchain's Python: one OpenHands conversation.

Packed as a zip application. It imports nothing of the harness, which imports nothing of it.
"""
