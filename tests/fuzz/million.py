"""A million mutated packets, none of which may raise anything but the declared errors.

``python -m tests.fuzz.million --n 1000000``: no coverage guides it, it is many. Most are small, so that a
change hits a field that means something; one in ten is of real size.
"""

from __future__ import annotations

import argparse
import random
import time

from cempstream.schemas.registry import Kind, sample
from tests.fuzz.targets import decode_packet, packet_seeds

_REAL_SHARE = 0.1
_MOST_FAULTS = 4
#: Numbers that lengths, counts and branches are made of, in Avro's zigzag form.
_NUMBERS = (
    *(bytes([byte]) for byte in (0, 1, 2, 3, 4, 126, 127, 128, 255)),
    b"\xff\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff" * 12,
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
)


def mutate(rng: random.Random, packet: bytes) -> bytes:
    """Return a packet with a few faults; its first five bytes mostly stay, or all would be refused there."""
    changed = bytearray(packet)
    for _ in range(rng.randint(1, _MOST_FAULTS)):
        if len(changed) < 8:
            break
        where = rng.randrange(0 if rng.random() < 0.02 else 5, len(changed))
        fault = rng.randrange(6)
        if fault == 0:
            changed[where] ^= 1 << rng.randrange(8)
        elif fault == 1:
            changed[where] = rng.randrange(256)
        elif fault == 2:
            number = rng.choice(_NUMBERS)
            changed[where : where + (len(number) if rng.random() < 0.5 else 0)] = number
        elif fault == 3:
            del changed[where : where + rng.randint(1, 40)]
        elif fault == 4:
            changed[where:where] = rng.randbytes(rng.randint(1, 40))
        else:
            del changed[where:]
    return bytes(changed)


def run(n_packets: int, seed: int) -> int:
    """Decode mutated packets and return how many were read all the same; whatever is raised goes through."""
    rng = random.Random(seed)
    small = [packet for packet in packet_seeds() if len(packet) < 8_000]
    real = [sample(Kind.SPECTRUM), sample(Kind.ALERT)]
    n_read = 0
    for i_packet in range(n_packets):
        packet = mutate(rng, rng.choice(real if rng.random() < _REAL_SHARE else small))
        try:
            n_read += decode_packet(packet)
        except BaseException:
            print(f"packet {i_packet} of seed {seed} raised: {packet[:4000].hex()}")
            raise
    return n_read


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began_s = time.monotonic()
    began_cpu_s = time.process_time()
    n_read = run(given.n, given.seed)
    elapsed_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    print(
        f"{given.n} mutated packets, {n_read} read, {given.n - n_read} refused, none raised: "
        f"{elapsed_s:.0f} s, {cpu_s:.0f} s of CPU"
    )


if __name__ == "__main__":
    main()
