"""confluent-kafka (librdkafka): create, produce with idempotence, verify by assignment."""
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from records import T_STEP, arguments, check, record


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)


def produce(bootstrap, topic, codec, n, seed, t0):
    errors = []
    producer = Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20,
        "message.max.bytes": 1100000,
    })
    for i in range(n):
        key, value, headers, timestamp = record(seed, i, n, t0)
        producer.produce(topic, value, key, 0, timestamp=timestamp, headers=headers,
                         on_delivery=lambda error, _: error and errors.append(str(error)))
    if producer.flush(60) or errors:
        raise SystemExit(f"not delivered: {errors[:3]}")


def read(consumer, topic, first, n):
    consumer.assign([TopicPartition(topic, 0, first)])
    got = []
    while len(got) < n - first:
        message = consumer.poll(20)
        if message is None:
            raise SystemExit(f"nothing for 20 s after {len(got)} records")
        if message.error():
            raise SystemExit(str(message.error()))
        got.append((message.offset(), message.key(), message.value(), message.headers(), message.timestamp()[1]))
    return got


def verify(bootstrap, topic, n, seed, t0):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    check(seed, n, t0, 0, read(consumer, topic, 0, n))
    check(seed, n, t0, n // 2, read(consumer, topic, n // 2, n))
    at = consumer.offsets_for_times([TopicPartition(topic, 0, t0 + n // 3 * T_STEP)], 20)[0].offset
    if at != n // 3:
        raise SystemExit(f"offset by time is {at}, expected {n // 3}")
    check(seed, n, t0, at, read(consumer, topic, at, n))


bootstrap, command, topic, codec, n, seed, t0 = arguments(sys.argv)
if command == "create":
    create(bootstrap, topic)
elif command == "produce":
    produce(bootstrap, topic, codec, n, seed, t0)
else:
    verify(bootstrap, topic, n, seed, t0)
