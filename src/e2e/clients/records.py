"""The records that every client writes and every client expects; the same rules stand in each language's own file.

Record i of a seed: keys are null, empty or text; values are null, empty, small text or (the last record) close to the largest that
the default limits let through, and never null beside a null key, which two of the clients refuse; headers are none, one, or two of which one is empty; timestamps are a second apart.
"""

BIG = 1_040_000
T_STEP = 1000
_memo = {}


def value_bytes(seed, i, size):
    """Printable bytes of a linear congruential generator: they compress a little, and no two records are alike."""
    if (seed, i, size) not in _memo:
        x = (seed * 7919 + i * 104729 + 1) & 0xFFFFFFFF
        out = bytearray(size)
        for j in range(size):
            x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
            out[j] = 32 + (x >> 26)
        _memo[(seed, i, size)] = bytes(out)
    return _memo[(seed, i, size)]


def record(seed, i, n, t0):
    """(key, value, headers, timestamp) of record i out of n."""
    key = None if i % 5 == 0 else b"" if i % 5 == 1 else b"key-%d-%d" % (seed, i)
    if i == n - 1:
        value = value_bytes(seed, i, BIG)
    else:
        size = 10 + (i * 37) % 900
        value = None if i % 7 == 0 and i % 5 else b"" if i % 7 < 2 else value_bytes(seed, i, size)
    headers = [("trace", b"%d" % i), ("empty", b"")][: i % 3]
    return key, value, headers, t0 + i * T_STEP


def check(seed, n, t0, first, got):
    """Compares (offset, key, value, headers, timestamp) tuples with what must be there from offset `first` to the end."""
    if len(got) != n - first:
        raise SystemExit(f"from offset {first}: {len(got)} records, expected {n - first}")
    for i, have in enumerate(got, first):
        key, value, headers, timestamp = record(seed, i, n, t0)
        want = (i, key, value, headers, timestamp)
        have = (have[0], have[1], have[2], [(k, bytes(v)) for k, v in have[3] or []], have[4])
        for name, w, h in zip(("offset", "key", "value", "headers", "timestamp"), want, have):
            if w != h:
                raise SystemExit(f"record {i}: {name} is {str(h)[:80]}, expected {str(w)[:80]}")


def arguments(argv):
    """bootstrap, command, topic, codec, n, seed, t0."""
    bootstrap, command, topic, codec, n, seed, t0 = argv[1:8]
    return bootstrap, command, topic, codec, int(n), int(seed), int(t0)
