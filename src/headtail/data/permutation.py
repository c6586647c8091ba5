"""A seeded order of n things that needs no memory: a keyed bijection on [0, n), computed place by place.

A balanced Feistel network over the next power of four (Luby and Rackoff, "How to construct pseudorandom permutations",
1988) with BLAKE2b as its round function. What falls beyond n goes through it again until it falls below n, which keeps
it a bijection (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002) and takes 4 passes at most on average
(more below 16 things).
"""

from __future__ import annotations

from hashlib import blake2b

ROUNDS = 8    # four are enough for large n; small n, whose rounds know few bits, need more to leave no structure
LEAST_BITS = 3    # of a half; with 2, 20,000 keys do not give all orders of 4 or 5 things alike (chi-square, p < 1e-5)


def permuted(place: int, n: int, key: str) -> int:
    """Where `place` of [0, n) goes in the order of `key`: a pure function, O(1) in time and memory.

    Args:
        place: 0 to n - 1, else ValueError.
        n: how many things there are, at least 1.
        key: one order for each, such as f"{seed}:{epoch}".
    """
    if not 0 <= place < n:
        raise ValueError(f"expected a place of 0 to {n - 1}, found {place}")
    bits = max(LEAST_BITS, ((n - 1).bit_length() + 1) // 2)
    mask, prefix = (1 << bits) - 1, key.encode("utf-8", "surrogatepass")
    while True:
        left, right = place >> bits, place & mask
        for turn in range(ROUNDS):
            mixed = blake2b(b"%b:%d:%d" % (prefix, turn, right), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(mixed, "little") & mask)
        place = left << bits | right
        if place < n:
            return place
