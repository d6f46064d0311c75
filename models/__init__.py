"""The networks' bundles, loaded and checked, and in its rooms what makes, simulates and judges them.

Imports processors and ONNX Runtime; the modules beside this one import none of the rooms.
"""
