"""Writes the inputs of the exactly-once tests: as many records as each line of standard input says. Its arguments and log are those of eos.py."""
import sys

from confluent_kafka import Producer

from eos import PARTITIONS, bootstrap, dealt_with, tell

# Outlives its broker, and never gives a record up.
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.timeout.ms": 0, "reconnect.backoff.max.ms": 200,
                     "socket.timeout.ms": 5000, "linger.ms": 1})
sent = 0
dealt_with(sent)
for line in sys.stdin:
    numbers = range(sent, sent + int(line))
    offsets = {}

    def delivered(error, message):
        if error is not None:
            sys.exit(f"not delivered: {error}")
        # None is known of a record that was there already when it was sent again.
        offsets[int(message.value())] = message.offset()

    tell("invoke", "send", [["send", f"in-{number % PARTITIONS}", str(number)] for number in numbers])
    for number in numbers:
        producer.produce("in", str(number).encode(), partition=number % PARTITIONS, on_delivery=delivered)
    while producer.flush(1) > 0:
        pass

    def result(number):
        offset = offsets[number]
        return str(number) if offset is None or offset < 0 else [offset, str(number)]

    tell("ok", "send", [["send", f"in-{number % PARTITIONS}", result(number)] for number in numbers])
    sent += len(numbers)
    dealt_with(sent)
