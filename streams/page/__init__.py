"""A web page of the night's candidates, that grows by itself.

Imports ``subscriber``, ``observing`` and ``pictures`` of the other rooms; Starlette serves it.
"""
