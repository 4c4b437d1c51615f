"""The records that every client writes and every client expects, and the frame of every Python client; the same rules stand in each
language's own file.

A client is called with BOOTSTRAP COMMAND N T0 TOPIC...; a topic's name is RUN-WRITER-CODEC. `write` creates the topics and writes N
records to each, `verify` reads them all again: from the start, from an offset, from a timestamp.

Record i: keys are null, empty or text; values are null, empty, small text or (the last record) close to the largest that
the default limits let through, and never null beside a null key, which two of the clients refuse; headers are none, one, or two of
which one is empty; timestamps are a second apart. kcat, which writes lines, has records of its own.
"""
import sys
import traceback

BIG = 1_040_000
T_STEP = 1000
_memo = {}


def value_bytes(i, size):
    """Printable bytes of a linear congruential generator: they compress a little, and no two records are alike."""
    if (i, size) not in _memo:
        x = (i * 104729 + 1) & 0xFFFFFFFF
        out = bytearray(size)
        for j in range(size):
            x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
            out[j] = 32 + (x >> 26)
        _memo[(i, size)] = bytes(out)
    return _memo[(i, size)]


def writer_and_codec(topic):
    return topic.split("-")[-2:]


def record(writer, i, n, t0):
    """(key, value, headers, timestamp) of record i out of n; a timestamp of None is the writer's own time."""
    if writer == "kcat":
        return b"key-%d" % i, b"value %d" % i, [("trace", b"e2e")], None
    key = None if i % 5 == 0 else b"" if i % 5 == 1 else b"key-%d" % i
    if i == n - 1:
        value = value_bytes(i, BIG)
    else:
        size = 10 + (i * 37) % 900
        value = None if i % 7 == 0 and i % 5 else b"" if i % 7 < 2 else value_bytes(i, size)
    headers = [("trace", b"%d" % i), ("empty", b"")][: i % 3]
    return key, value, headers, t0 + i * T_STEP


def check(topic, n, t0, first, got):
    """Compares (offset, key, value, headers, timestamp) tuples with what must be there from offset `first` to the end."""
    writer = writer_and_codec(topic)[0]
    if len(got) != n - first:
        raise AssertionError(f"from offset {first}: {len(got)} records, expected {n - first}")
    for i, have in enumerate(got, first):
        key, value, headers, timestamp = record(writer, i, n, t0)
        want = (i, key, value, headers, have[4] if timestamp is None else timestamp)
        have = (have[0], have[1], have[2], [(k, bytes(v)) for k, v in have[3] or []], have[4])
        for name, w, h in zip(("offset", "key", "value", "headers", "timestamp"), want, have):
            if w != h:
                raise AssertionError(f"record {i}: {name} is {str(h)[:80]}, expected {str(w)[:80]}")


def times(topic, n, t0):
    """A timestamp to look for and the offset that has it; nothing for topics whose timestamps the writer chose."""
    return [] if writer_and_codec(topic)[0] == "kcat" else [(t0 + n // 3 * T_STEP, n // 3)]


def main(write, verify):
    """Runs write(bootstrap, topic, codec, n, t0) or verify(bootstrap, topic, n, t0) for each topic; tells every failure at the end."""
    bootstrap, command, n, t0, *topics = sys.argv[1:]
    failures = []
    for topic in topics:
        try:
            if command == "write":
                write(bootstrap, topic, writer_and_codec(topic)[1], int(n), int(t0))
            else:
                verify(bootstrap, topic, int(n), int(t0))
        except BaseException as error:
            failures.append(f"{topic}: {error!r}")
            traceback.print_exc()
            if len(failures) == 3:
                break
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    # Not sys.exit: a client's threads that still wait for a broker must not hold the process.
    sys.stderr.flush()
    __import__("os")._exit(1 if failures else 0)
