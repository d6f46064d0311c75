"""Print what voevent-parse reads of VOEvents, as JSON: ``python -m tests.others.read_voevents FILE...``.

A packet that the schema of VOEvent 2.0 does not allow ends it.
"""

import json
import sys

import voeventparse


def read(path: str) -> dict[str, object]:
    """Return the facts of a packet."""
    with open(path, "rb") as file:
        packet = voeventparse.load(file)
    voeventparse.assert_valid_as_v2_0(packet)
    found: dict[str, object] = {
        "ivorn": packet.attrib["ivorn"],
        "role": packet.attrib["role"],
        "name": voeventparse.get_toplevel_params(packet)["name"]["value"],
        "p_cemp": voeventparse.get_grouped_params(packet)["finding"].get("p_cemp", {}).get("value"),
        "cites": [[str(cite), cite.attrib["cite"]] for cite in packet.iterfind(".//EventIVORN")],
    }
    if packet.find(".//Position2D") is not None:
        place = voeventparse.get_event_position(packet)
        found |= {"ra": place.ra, "dec": place.dec, "system": place.system}
    if packet.find("WhereWhen") is not None:
        time = voeventparse.get_event_time_as_utc(packet)
        found["time"] = None if time is None else time.isoformat()
    return found


if __name__ == "__main__":
    print(json.dumps([read(path) for path in sys.argv[1:]]))
