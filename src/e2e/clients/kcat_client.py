"""kcat: topics come into being on first use; it writes numbered lines with keys and a header, and reads everything, also by time."""
import re
import subprocess

from records import check, main, times

# Lengths ahead of key and value, -1 for null; values have no line breaks, so a record is a line.
FORMAT = "%o %T %K %S %k|%h|%s\n"


def kcat(bootstrap, *arguments, text=None):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=text, capture_output=True, timeout=120)
    if done.returncode:
        raise AssertionError(f"kcat {arguments}: {done.stderr.decode()}")
    return done.stdout


def write(bootstrap, topic, codec, n, t0):
    lines = b"".join(b"key-%d:value %d\n" % (i, i) for i in range(n))
    kcat(bootstrap, "-P", "-t", topic, "-p", "0", "-K:", "-z", codec, "-H", "trace=e2e", "-X", "enable.idempotence=true",
         "-X", "linger.ms=20", text=lines)


def record(line):
    offset, timestamp, key_bytes, value_bytes, rest = line.split(b" ", 4)
    key, rest = rest[:max(0, int(key_bytes))], rest[max(0, int(key_bytes)) + 1:]
    headers, value = rest.split(b"|", 1)
    headers = [tuple(h.split(b"=", 1)) for h in headers.split(b",") if h]
    if len(value) != max(0, int(value_bytes)):
        raise AssertionError(f"a value of {len(value)} bytes instead of {value_bytes}")
    return (int(offset), None if key_bytes == b"-1" else key, None if value_bytes == b"-1" else value,
            [(name.decode(), value) for name, value in headers], int(timestamp))


def read(bootstrap, topic, start):
    out = kcat(bootstrap, "-C", "-q", "-t", topic, "-p", "0", "-o", start, "-e", "-f", FORMAT, "-X", "fetch.wait.max.ms=50")
    return [record(line) for line in out.split(b"\n")[:-1]]


def verify(bootstrap, topic, n, t0):
    whole = read(bootstrap, topic, "beginning")
    check(topic, n, t0, 0, whole)
    check(topic, n, t0, n // 2, read(bootstrap, topic, str(n // 2)))
    # kcat's own records lie close together in time: the first of all is the one that can be told.
    for timestamp, expected in times(topic, n, t0) or [(whole[0][4], 0)]:
        found = kcat(bootstrap, "-Q", "-t", f"{topic}:0:{timestamp}").decode()
        assert re.search(rf"offset {expected}$", found.strip()), f"by time: {found}, expected {expected}"
        check(topic, n, t0, expected, read(bootstrap, topic, f"s@{timestamp}"))


main(write, verify)
