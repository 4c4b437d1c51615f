"""What the programs of the exactly-once tests have in common. Arguments: BOOTSTRAP NAME PROCESS LOG PROTOCOL.

Each writes to LOG what it did, as lines for the history checker (shards/sim/src/oracle/history/format.rs), and to LOG.count how many records it has
dealt with: that file is touched whenever its loop comes round, so that whoever started it sees it stand still. It ends well when its standard input
is closed. Values of `in` are numbers; those of `out` are NUMBER#TAG, where TAG names the transaction, as the same number is copied again after an abort.
Lines `deciding TAG` beside the history say when a commit was asked for, `at` when a poll came back, by the clock that all processes share."""
import json
import os
import sys
import threading
import time

bootstrap, name, process, log, protocol = sys.argv[1:6]
PARTITIONS = 4
over = threading.Event()
lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
count = os.open(log + ".count", os.O_WRONLY | os.O_CREAT)


def tell(kind, f, value, **more):
    """A line of the history, whole or not at all whenever the process is killed."""
    os.write(lines, (json.dumps({"process": int(process), "type": kind, "f": f, "value": value, **more}) + "\n").encode())


def deciding(tag):
    os.write(lines, (json.dumps({"deciding": tag, "at": time.monotonic_ns()}) + "\n").encode())


def dealt_with(number):
    os.pwrite(count, f"{number:>20}".encode(), 0)


def place(number):
    """The partition of a result: not its input's, so that a transaction has several."""
    return (number // 3) % PARTITIONS


def until_told():
    """Sets `over` at the end of standard input, for programs that do not read it themselves."""
    def wait():
        sys.stdin.buffer.read()
        over.set()
    threading.Thread(target=wait, daemon=True).start()
