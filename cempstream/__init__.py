"""cempstream: carbon-enhanced metal-poor stars, found in a survey's spectra as they are reduced."""
