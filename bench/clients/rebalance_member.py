"""A member of a group whose every record's arrival is written down. Arguments: BOOTSTRAP GROUP TOPIC LOG PROTOCOL HEARTBEAT_MS SESSION_MS; PROTOCOL is
`cooperative` (classic) or `consumer` (KIP-848, where the broker says how often and how long). Lines, with CLOCK_MONOTONIC in ns:

  r PARTITION OFFSET NS     a record has arrived
  a NS [PARTITION ...]      partitions were assigned
  v NS [PARTITION ...]      partitions were revoked, or it has left

It does what the lines of its standard input say: `make` a client, which it tells with `ready` (what a client costs to make is over when it joins), `join` and
`leave`, any number of times. It ends when that is closed. RebalanceMember.java does the same with the Java client."""
import queue
import sys
import threading
from time import monotonic_ns

from confluent_kafka import Consumer

bootstrap, group, topic, path, protocol, heartbeat_ms, session_ms = sys.argv[1:8]
orders = queue.Queue()


def listen():
    for line in sys.stdin:
        orders.put(line.strip())
    orders.put(None)


log = open(path, "a", buffering=1 << 20)
has = set()


def note(what, partitions):
    log.write(" ".join(map(str, [what, monotonic_ns(), *partitions])) + "\n")
    log.flush()


def came(_, partitions):
    has.update(p.partition for p in partitions)
    note("a", (p.partition for p in partitions))


def went(_, partitions):
    has.difference_update(p.partition for p in partitions)
    note("v", (p.partition for p in partitions))


config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "latest"}
if protocol == "consumer":
    config["group.protocol"] = "consumer"
else:
    config |= {"partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": int(heartbeat_ms),
               "session.timeout.ms": int(session_ms)}
threading.Thread(target=listen, daemon=True).start()
while orders.get() is not None:
    consumer = Consumer(config)
    print("ready", flush=True)
    if orders.get() is None:
        break
    consumer.subscribe([topic], on_assign=came, on_revoke=went, on_lost=went)
    while orders.empty():
        # Many at once cost a call of the system together, not one each: what is to be measured is not this program.
        message = consumer.poll(0.01)
        while message is not None:
            if message.error() is None:
                log.write(f"r {message.partition()} {message.offset()} {monotonic_ns()}\n")
            message = consumer.poll(0)
        log.flush()
    order = orders.get()
    consumer.close()
    note("v", sorted(has))
    has.clear()
    if order is None:
        break
