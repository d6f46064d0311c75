"""Where on the sky, as one integer: HEALPix, nested scheme (Górski et al. 2005, ApJ 622, 759)."""

from __future__ import annotations

from math import cos, floor, radians, sin, sqrt


def healpix_nested(ra_deg: float, dec_deg: float, order: int = 29) -> int:
    """Return the HEALPix pixel that holds a position, nested scheme.

    A range of these integers is a patch of sky: at a coarser order k the pixel is this one shifted right by
    ``2 * (order - k)`` bits.

    Parameters
    ----------
    ra_deg, dec_deg
        Position in degrees.
    order
        ``nside = 2 ** order``; order 29 (0.4 mas) is the finest that fits 64 bits.
    """
    n_side = 1 << order
    z = sin(radians(dec_deg))
    quarter_turns = (ra_deg % 360.0) / 90.0 % 4.0
    if abs(z) <= 2.0 / 3.0:  # equatorial belt: count the ascending and descending edge lines
        up = floor(n_side * (0.5 + quarter_turns - 0.75 * z))
        down = floor(n_side * (0.5 + quarter_turns + 0.75 * z))
        face_up, face_down = up >> order, down >> order
        if face_up == face_down:
            face = face_up & 3 | 4
        elif face_up < face_down:
            face = face_up & 3
        else:
            face = (face_down & 3) + 8
        x = down & (n_side - 1)
        y = n_side - 1 - (up & (n_side - 1))
    else:  # polar caps; 1 - |z| loses its digits near the pole, the cosine of the declination does not
        face = min(int(quarter_turns), 3)
        along = quarter_turns - face
        radius = n_side * cos(radians(dec_deg)) * sqrt(3.0 / (1.0 + abs(z)))
        x = min(int(along * radius), n_side - 1)
        y = min(int((1.0 - along) * radius), n_side - 1)
        if z > 0:
            x, y = n_side - 1 - y, n_side - 1 - x
        else:
            face += 8
    return (face << (2 * order)) | _spread(x) | (_spread(y) << 1)


def _spread(bits: int) -> int:
    """Put a zero before every bit of a 32-bit integer."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        bits = (bits | bits << shift) & mask
    return bits
