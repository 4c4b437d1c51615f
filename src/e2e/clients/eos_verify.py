"""Reads the results of the exactly-once tests with isolation.level=read_committed, all the time; told to end it reads on to the high watermark, so
that a transaction that nobody ends keeps it from ending. Its arguments and log are those of eos.py."""
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from eos import PARTITIONS, bootstrap, dealt_with, over, tell, until_told

PATIENCE = 90
until_told()
config = {"bootstrap.servers": bootstrap, "group.id": "verifier", "enable.auto.commit": False, "reconnect.backoff.max.ms": 200}
reader = Consumer({**config, "isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 100})
ends = Consumer({**config, "isolation.level": "read_uncommitted"})
places = [TopicPartition("out", partition, 0) for partition in range(PARTITIONS)]
reader.assign(places)
tell("ok", "assign", [f"out-{place.partition}" for place in places])
seen, reached, wanted, limit = set(), {}, None, None
while True:
    messages = reader.consume(500, 0.2)
    at = time.monotonic_ns()
    polled = {}
    for message in messages:
        if message.error() is None:
            value = message.value().decode()
            polled.setdefault(f"out-{message.partition()}", []).append([message.offset(), value])
            seen.add(int(value.split("#")[0]))
        elif message.error().code() == KafkaError._PARTITION_EOF:
            reached[message.partition()] = message.offset()
    if polled:
        tell("ok", "poll", [["poll", polled]], at=at)
    dealt_with(len(seen))
    if not over.is_set():
        continue
    if wanted is None:
        limit = time.monotonic() + PATIENCE
        try:
            wanted = {place.partition: ends.get_watermark_offsets(place, timeout=10)[1] for place in places}
        except KafkaException as error:
            sys.exit(f"the ends of out cannot be asked for: {error}")
    if all(reached.get(partition, 0) >= end for partition, end in wanted.items()):
        break
    if time.monotonic() > limit:
        sys.exit(f"out cannot be read to its end: up to {reached} of {wanted}")
reader.close()
ends.close()
