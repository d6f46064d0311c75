"""The columns of results: users rely on their names, order and units, and tools on what they mean."""

from __future__ import annotations

from cempstream.streams.scoring.result_table import COLUMN_INFO, COLUMNS

#: Name, kind, unit and UCD1+ as published; new columns come at the end.
PUBLISHED = """
spectrum_id | text | | meta.id;meta.main
survey | text | | meta.id;meta.dataset
status | text | | meta.code.status
reason | text | | meta.code.error
snr | number | | stat.snr
rv_kms | number | km / s | spect.dopplerVeloc
teff | number | K | phys.temperature.effective
teff_lo | number | K | phys.temperature.effective;stat.min
teff_hi | number | K | phys.temperature.effective;stat.max
logg | number | | phys.gravity
logg_lo | number | | phys.gravity;stat.min
logg_hi | number | | phys.gravity;stat.max
feh | number | | phys.abund.Fe
feh_lo | number | | phys.abund.Fe;stat.min
feh_hi | number | | phys.abund.Fe;stat.max
cfe | number | | phys.abund;phys.atmol.element
cfe_lo | number | | phys.abund;phys.atmol.element;stat.min
cfe_hi | number | | phys.abund;phys.atmol.element;stat.max
ac | number | | phys.abund;phys.atmol.element
ac_lo | number | | phys.abund;phys.atmol.element;stat.min
ac_hi | number | | phys.abund;phys.atmol.element;stat.max
bafe | number | | phys.abund;phys.atmol.element
bafe_lo | number | | phys.abund;phys.atmol.element;stat.min
bafe_hi | number | | phys.abund;phys.atmol.element;stat.max
cfe_corrected | number | | phys.abund;phys.atmol.element
p_cemp | number | | stat.probability
p_cemp_corrected | number | | stat.probability
subclass | text | | src.class
ood_score | number | | stat.value
is_candidate | bool | | meta.code
flags | text | | meta.code.qual
bundle | text | | meta.version
priority | number | | stat.weight
rv_error_kms | number | km / s | stat.error;spect.dopplerVeloc
template_teff | number | K | phys.temperature.effective;meta.modelled
template_logg | number | | phys.gravity;meta.modelled
template_feh | number | | phys.abund.Fe;meta.modelled
template_cfe | number | | phys.abund;phys.atmol.element;meta.modelled
template_chi2 | number | | stat.fit.chi2
bands | text | | meta.note
lines | text | | meta.note
ra | number | deg | pos.eq.ra;meta.main
dec | number | deg | pos.eq.dec;meta.main
object_id | text | | meta.id
grating | text | | instr.setup
file | text | | meta.id;meta.file
detail | text | | meta.note
teff_phot | number | K | phys.temperature.effective
teff_phot_error | number | K | stat.error;phys.temperature.effective
logg_phot | number | | phys.gravity
logg_phot_error | number | | stat.error;phys.gravity
phot_used | bool | | meta.code
"""


def test_columns_are_those_that_were_published() -> None:
    kinds = {"text": str, "number": float, "bool": bool}
    lines = [[part.strip() for part in line.split("|")] for line in PUBLISHED.strip().splitlines()]
    wanted = [(name, kinds[kind], unit, ucd) for name, kind, unit, ucd in lines]
    assert [(c.name, c.kind, c.unit, c.ucd) for c in COLUMN_INFO] == wanted
    assert tuple(name for name, *_ in wanted) == COLUMNS


def test_both_ends_of_an_interval_are_described_as_such() -> None:
    described = {c.name: c.description for c in COLUMN_INFO}
    for name in COLUMNS:
        if f"{name}_lo" in described:
            assert described[f"{name}_lo"] == f"lower end of the 68 % interval of {name}"
            assert described[f"{name}_hi"] == f"upper end of the 68 % interval of {name}"
    assert all(described.values())
