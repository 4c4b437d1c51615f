"""kafka-python: create, produce with idempotence, verify by assignment."""
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from records import T_STEP, arguments, check, record


def create(bootstrap, topic):
    KafkaAdminClient(bootstrap_servers=bootstrap).create_topics([NewTopic(topic, 1, 1)])


def produce(bootstrap, topic, codec, n, seed, t0):
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, acks="all",
                             enable_idempotence=True, linger_ms=20, max_request_size=1100000)
    futures = []
    for i in range(n):
        key, value, headers, timestamp = record(seed, i, n, t0)
        futures.append(producer.send(topic, value, key, headers, 0, timestamp))
    producer.flush(60)
    for future in futures:
        future.get(60)


def read(consumer, partition, first, n):
    consumer.seek(partition, first)
    got, limit = [], time.monotonic() + 60
    while len(got) < n - first:
        if time.monotonic() > limit:
            raise SystemExit(f"{len(got)} records within a minute")
        for message in consumer.poll(1000).get(partition, []):
            got.append((message.offset, message.key, message.value, message.headers, message.timestamp))
    return got


def verify(bootstrap, topic, n, seed, t0):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    check(seed, n, t0, 0, read(consumer, partition, 0, n))
    check(seed, n, t0, n // 2, read(consumer, partition, n // 2, n))
    at = consumer.offsets_for_times({partition: t0 + n // 3 * T_STEP})[partition].offset
    if at != n // 3:
        raise SystemExit(f"offset by time is {at}, expected {n // 3}")
    check(seed, n, t0, at, read(consumer, partition, at, n))


bootstrap, command, topic, codec, n, seed, t0 = arguments(sys.argv)
if command == "create":
    create(bootstrap, topic)
elif command == "produce":
    produce(bootstrap, topic, codec, n, seed, t0)
else:
    verify(bootstrap, topic, n, seed, t0)
