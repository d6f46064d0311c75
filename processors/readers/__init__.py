"""Readers of the files that surveys publish: a path in, spectra out.

Imports the rest of processors, astropy and h5py.
"""

from cempstream.processors.readers.files import expand_paths, read_spectra
from cempstream.processors.readers.options import ReadOptions, UnreadableFile

__all__ = ["ReadOptions", "UnreadableFile", "expand_paths", "read_spectra"]
