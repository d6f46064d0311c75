"""What the stream says of itself: metrics, health, logs and the notices that a person acts on.

Imports no other room.
"""
