"""kafka-python: create, produce with idempotence, verify by assignment."""
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from records import check, main, record, times


def write(bootstrap, topic, codec, n, t0):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, acks="all",
                             enable_idempotence=True, linger_ms=20, max_request_size=1100000)
    futures = []
    for i in range(n):
        key, value, headers, timestamp = record("kafkapython", i, n, t0)
        futures.append(producer.send(topic, value, key, headers, 0, timestamp))
    producer.flush(60)
    for future in futures:
        future.get(60)
    producer.close()


def read(consumer, partition, first, n):
    consumer.seek(partition, first)
    got, limit = [], time.monotonic() + 60
    while len(got) < n - first:
        if time.monotonic() > limit:
            raise AssertionError(f"{len(got)} records within a minute")
        for message in consumer.poll(1000).get(partition, []):
            got.append((message.offset, message.key, message.value, message.headers, message.timestamp))
    return got


def verify(bootstrap, topic, n, t0):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    check(topic, n, t0, 0, read(consumer, partition, 0, n))
    check(topic, n, t0, n // 2, read(consumer, partition, n // 2, n))
    for timestamp, expected in times(topic, n, t0):
        at = consumer.offsets_for_times({partition: timestamp})[partition].offset
        assert at == expected, f"offset by time is {at}, expected {expected}"
        check(topic, n, t0, at, read(consumer, partition, at, n))
    consumer.close()


main(write, verify)
