"""Physical and numerical constants shared by many modules."""

#: Speed of light, km/s.
LIGHT_KMS = 299_792.458

#: Full width at half maximum of a Gaussian over its standard deviation, 2 √(2 ln 2).
FWHM_PER_SIGMA = 2.3548200450309493
