"""Times and addresses as a person writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from cempstream.streams.addresses import AddressError, parse_brokers
from cempstream.streams.times import TimeError, parse_start, parse_time

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("1.5d", NOW - timedelta(hours=36)),
        ("2026-11-20T03:00", datetime(2026, 11, 20, 3, tzinfo=UTC)),
        ("2026-11-20T03:00+02:00", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_a_time_is_read(text: str, moment: datetime) -> None:
    assert parse_time(text, now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "2x", "h", "-100", "tomorrow", "99999999999d", "0001-01-01T00:00+14:00", "٢h", "2h\n"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(TimeError, match="is not a time; write 2026-11-20T03:00"):
        parse_time(text)


def test_a_start_may_also_be_a_count_or_an_age() -> None:
    assert parse_start("-100") == parse_start(-100) == -100
    start = parse_start("2h")
    assert isinstance(start, datetime)
    assert timedelta(hours=1.9) < datetime.now(UTC) - start < timedelta(hours=2.1)
    with pytest.raises(TimeError, match="is not a place to start"):
        parse_start("-" + "9" * 30)


@pytest.mark.parametrize("text", ["kafka", "kafka:9092", "127.0.0.1:1,b_2.example-x.org:65535", "[::1]:9092"])
def test_an_address_is_taken_as_it_is(text: str) -> None:
    assert parse_brokers(text) == text


@pytest.mark.parametrize("text", ["", ",", "a:", "a:b", "a:0", "a:65536", "http://a:1", "a b:1", "a:1,"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="is not a broker's address; write host:port"):
        parse_brokers(text)
