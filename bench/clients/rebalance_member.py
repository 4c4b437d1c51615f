"""A member of a group whose every record's arrival is written down. Arguments: BOOTSTRAP GROUP TOPIC LOG PROTOCOL HEARTBEAT_MS SESSION_MS; PROTOCOL is
`cooperative` (classic) or `consumer` (KIP-848, where the broker says how often and how long). Lines, with CLOCK_MONOTONIC in ns:

  r PARTITION OFFSET NS     a record has arrived
  a NS [PARTITION ...]      partitions were assigned
  v NS [PARTITION ...]      partitions were revoked

It joins when a line comes to its standard input (what a program costs to start is over by then), and leaves the group and ends when that is closed."""
import sys
import threading
from time import monotonic_ns

from confluent_kafka import Consumer

bootstrap, group, topic, path, protocol, heartbeat_ms, session_ms = sys.argv[1:8]
over = threading.Event()


def wait():
    sys.stdin.buffer.read()
    over.set()


log = open(path, "a", buffering=1)


def tell(what):
    return lambda _, partitions: log.write(" ".join(map(str, [what, monotonic_ns(), *(p.partition for p in partitions)])) + "\n")


config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "latest"}
if protocol == "consumer":
    config["group.protocol"] = "consumer"
else:
    config |= {"partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": int(heartbeat_ms),
               "session.timeout.ms": int(session_ms)}
# Made before it is to join: what that costs (a tenth of a second, for its libraries) would be taken from who is consuming on the same core.
consumer = Consumer(config)
if not sys.stdin.buffer.readline():
    sys.exit()
threading.Thread(target=wait, daemon=True).start()
consumer.subscribe([topic], on_assign=tell("a"), on_revoke=tell("v"), on_lost=tell("v"))
while not over.is_set():
    message = consumer.poll(0.01)
    if message is not None and message.error() is None:
        log.write(f"r {message.partition()} {message.offset()} {monotonic_ns()}\n")
consumer.close()
