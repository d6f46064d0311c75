"""Tables of alerts: units, UCDs and every alert's meaning are in the file, for astropy and TOPCAT."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable import parse
from astropy.table import Table

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.facts import FACTS
from cempstream.streams.exporters.tables import TableSink, alerts_table, table_bytes
from tests.support.star_life import TYPES, star_life


def read_ecsv(content: bytes) -> Table:
    return Table.read(content.decode(), format="ascii.ecsv")


def test_a_votable_is_valid_and_has_units_and_ucds() -> None:
    content = table_bytes(alerts_table(star_life()), "votable")
    file = parse(io.BytesIO(content), verify="exception")
    table = file.get_first_table()
    fields = {field.name: field for field in table.fields}
    assert [(field.name, field.ucd) for field in table.fields] == [(fact.name, fact.ucd) for fact in FACTS]
    assert fields["teff"].unit == u.K
    assert fields["ra"].unit == u.deg
    assert fields["rv"].unit == u.km / u.s
    assert fields["ra"].ref == "icrs"
    assert [system.system for system in file.iter_coosys()] == ["ICRS"]
    assert list(table.array["alert_type"]) == list(TYPES)
    assert list(table.array["gaia_source_id"]) == [4_611_686_018_427_387_905] * 4
    assert table.array["bafe"].mask.all() or np.isnan(table.array["bafe"]).all()


def test_an_ecsv_has_units_ucds_and_masks() -> None:
    table = read_ecsv(table_bytes(alerts_table(star_life()), "ecsv"))
    assert table["teff"].unit == u.K
    assert table["teff"].meta["ucd"] == "phys.temperature.effective"
    assert table["p_cemp"].tolist() == [0.97, 0.98, 0.9, 0.2]
    assert table["alert_type"].tolist() == list(TYPES)
    assert table["supersedes"].tolist()[1:] == table["alert_id"].tolist()[:-1]
    assert table["bafe"].mask.all()


@pytest.mark.parametrize("form", ["votable", "ecsv"])
def test_no_alerts_are_a_table_without_rows(form: str) -> None:
    content = table_bytes(alerts_table([]), form)  # type: ignore[arg-type]
    if form == "ecsv":
        assert len(read_ecsv(content)) == 0
    else:
        assert len(parse(io.BytesIO(content), verify="exception").get_first_table().array) == 0


def test_alerts_are_acknowledged_when_the_table_is_written_and_not_before() -> None:
    order: list[str] = []

    def told(alert: Alert) -> Alert:
        alert.on_ack(lambda: order.append(alert.alert_type))
        return alert

    def write(content: bytes) -> None:
        assert len(read_ecsv(content)) == 4
        order.append("written")

    with TableSink(write, "ecsv") as sink:
        for alert in star_life():
            sink.send(told(alert))
        assert order == []
    assert order == ["written", *TYPES]


def test_a_table_that_cannot_be_written_acknowledges_nothing() -> None:
    acknowledged: list[Alert] = []
    alert = star_life()[0]
    alert.on_ack(lambda: acknowledged.append(alert))

    def full(content: bytes) -> None:
        raise OSError("no space")

    sink = TableSink(full, "ecsv")
    sink.send(alert)
    with pytest.raises(OSError, match="no space"):
        sink.close()
    assert acknowledged == []
