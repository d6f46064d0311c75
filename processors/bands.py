"""Line indices and named bands of the field, with their sources.

Wavelengths are as published, in the medium that the source used; ``vacuum`` converts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cempstream.processors.grid import air_to_vacuum

Window: TypeAlias = tuple[float, float]
BandKind: TypeAlias = Literal["ew", "mag", "ratio", "colour"]


@dataclass(frozen=True, slots=True)
class Band:
    """One index.

    Attributes
    ----------
    kind
        ``ew``: equivalent width in Å against a line through two sidebands. ``mag``: the same as
        -2.5 log10 of the mean. ``ratio``: mean flux of the band over that of the sidebands. ``colour``:
        -2.5 log10 of that ratio.
    sides
        Sidebands; for ``ew`` and ``mag`` a blue and a red one.
    """

    name: str
    kind: BandKind
    window: Window
    sides: tuple[Window, ...]
    medium: Literal["air", "vacuum"] = "air"

    def vacuum(self) -> Band:
        """Return the band with vacuum wavelengths."""
        if self.medium == "vacuum":
            return self
        window, *sides = (
            (float(low), float(high))
            for low, high in air_to_vacuum(np.array([self.window, *self.sides])).reshape(-1, 2)
        )
        return Band(self.name, self.kind, window, tuple(sides), "vacuum")


def _lick(name: str, kind: BandKind, window: Window, blue: Window, red: Window) -> Band:
    return Band(name, kind, window, (blue, red))


#: Worthey et al. 1994 and Worthey & Ottaviani 1997; CaHK of LB13 (Serven et al.).
LICK = (
    _lick("lick_cn1", "mag", (4142.125, 4177.125), (4080.125, 4117.625), (4244.125, 4284.125)),
    _lick("lick_cn2", "mag", (4142.125, 4177.125), (4083.875, 4096.375), (4244.125, 4284.125)),
    _lick("lick_ca4227", "ew", (4222.250, 4234.750), (4211.000, 4219.750), (4241.000, 4251.000)),
    _lick("lick_g4300", "ew", (4281.375, 4316.375), (4266.375, 4282.625), (4318.875, 4335.125)),
    _lick("lick_fe4383", "ew", (4369.125, 4420.375), (4359.125, 4370.375), (4442.875, 4455.375)),
    _lick("lick_fe4531", "ew", (4514.250, 4559.250), (4504.250, 4514.250), (4560.500, 4579.250)),
    _lick("lick_c24668", "ew", (4634.000, 4720.250), (4611.500, 4630.250), (4742.750, 4756.500)),
    _lick("lick_hbeta", "ew", (4847.875, 4876.625), (4827.875, 4847.875), (4876.625, 4891.625)),
    _lick("lick_mg1", "mag", (5069.125, 5134.125), (4895.125, 4957.625), (5301.125, 5366.125)),
    _lick("lick_mg2", "mag", (5154.125, 5196.625), (4895.125, 4957.625), (5301.125, 5366.125)),
    _lick("lick_mgb", "ew", (5160.125, 5192.625), (5142.625, 5161.375), (5191.375, 5206.375)),
    _lick("lick_fe5270", "ew", (5245.650, 5285.650), (5233.150, 5248.150), (5285.650, 5318.150)),
    _lick("lick_fe5335", "ew", (5312.125, 5352.125), (5304.625, 5315.875), (5353.375, 5363.375)),
    _lick("lick_hdelta_a", "ew", (4083.500, 4122.250), (4041.600, 4079.750), (4128.500, 4161.000)),
    _lick("lick_hgamma_a", "ew", (4319.750, 4363.500), (4283.500, 4319.750), (4367.250, 4419.750)),
    _lick("lick_cahk", "ew", (3899.47, 4003.47), (3806.50, 3833.82), (4020.69, 4052.36)),
)

#: PyHammer v2 (Kesseli et al. 2017; carbon bands of Roulston et al. 2020), vacuum.
PYHAMMER = tuple(
    Band(name, "ratio", window, (side,), "vacuum")
    for name, window, side in (
        ("c2_4382", (4350.0, 4380.0), (4450.0, 4600.0)),
        ("c2_4737", (4650.0, 4730.0), (4750.0, 4850.0)),
        ("c2_5165", (5028.0, 5165.0), (5210.0, 5380.0)),
        ("c2_5636", (5400.0, 5630.0), (5650.0, 5800.0)),
        ("cn_6926", (6935.0, 7035.0), (6850.0, 6900.0)),
        ("cn_7872", (7850.0, 8050.0), (7650.0, 7820.0)),
        ("ca_k", (3924.811, 3944.816), (3944.816, 3954.819)),
        ("g_band", (4286.206, 4316.214), (4261.199, 4286.206)),
    )
)

#: Ca II K of Beers et al. 1999 (three widths, of which KP uses one) and the CH and hydrogen indices of the
#: HES (Christlieb et al. 2008; Placco et al. 2010, 2011).
METAL_POOR = (
    Band("k6", "ew", (3930.7, 3936.7), ((3903.0, 3923.0), (4000.0, 4020.0))),
    Band("k12", "ew", (3927.7, 3939.7), ((3903.0, 3923.0), (4000.0, 4020.0))),
    Band("k18", "ew", (3924.7, 3942.7), ((3903.0, 3923.0), (4000.0, 4020.0))),
    Band("gp", "ew", (4297.5, 4312.5), ((4247.0, 4267.0), (4362.0, 4372.0))),
    Band("gpe", "ew", (4200.0, 4400.0), ((4019.0, 4055.0), (4499.0, 4536.0))),
    Band("egp", "colour", (4200.0, 4400.0), ((4425.0, 4520.0),)),
    Band("hp2", "ew", (4089.8, 4113.8), ((4000.0, 4020.0), (4144.0, 4164.0))),
    Band("s3839", "colour", (3846.0, 3883.0), ((3883.0, 3916.0),)),
    Band("ch4300", "colour", (4285.0, 4315.0), ((4240.0, 4280.0), (4390.0, 4460.0))),
    Band("ew_c2_4737", "ew", (4625.0, 4747.0), ((4620.0, 4625.0), (4750.0, 4775.0))),
    Band("ew_c2_5635", "ew", (5350.0, 5640.0), ((5300.0, 5350.0), (5650.0, 5700.0))),
    Band("ba4554", "ew", (4550.0, 4558.0), ((4538.0, 4546.0), (4590.0, 4600.0))),
    Band("sr4077", "ew", (4074.5, 4081.0), ((4055.0, 4062.0), (4084.0, 4090.0))),
)

CEMP_BANDS = LICK + PYHAMMER + METAL_POOR


def resolved_bands(bands: tuple[Band, ...], resolving_power: float) -> tuple[Band, ...]:
    """Return the bands whose windows are all at least one resolution element (λ/R) wide."""
    return tuple(
        band
        for band in bands
        if all(high - low >= 0.5 * (low + high) / resolving_power for low, high in (band.window, *band.sides))
    )


#: Named windows that an explanation may mention, air Å.
NAMED_WINDOWS: tuple[tuple[str, Window], ...] = (
    ("CN 3883", (3846.0, 3883.0)),
    ("Ca II K", (3924.7, 3942.7)),
    ("Sr II 4077", (4074.0, 4081.0)),
    ("Eu II 4129", (4126.0, 4133.0)),
    ("CN 4142", (4142.0, 4177.0)),
    ("CH G", (4200.0, 4400.0)),
    ("Ba II 4554", (4550.0, 4558.0)),
    ("C2 4737", (4650.0, 4750.0)),
    ("Ba II 4934", (4930.0, 4938.0)),
    ("C2 5165", (5028.0, 5165.0)),
    ("C2 5636", (5400.0, 5636.0)),
    ("CN 6926", (6935.0, 7035.0)),
    ("CN 7872", (7850.0, 8050.0)),
)
