"""confluent-kafka (librdkafka): create, produce with idempotence, verify by assignment."""
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from records import check, main, record, times


def write(bootstrap, topic, codec, n, t0):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    errors = []
    producer = Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20,
        "message.max.bytes": 1100000,
    })
    for i in range(n):
        key, value, headers, timestamp = record("confluent", i, n, t0)
        producer.produce(topic, value, key, 0, timestamp=timestamp, headers=headers,
                         on_delivery=lambda error, _: error and errors.append(str(error)))
    if producer.flush(60) or errors:
        raise AssertionError(f"not delivered: {errors[:3]}")


def read(consumer, topic, first, n):
    consumer.assign([TopicPartition(topic, 0, first)])
    got = []
    while len(got) < n - first:
        message = consumer.poll(20)
        if message is None:
            raise AssertionError(f"nothing for 20 s after {len(got)} records")
        if message.error():
            raise AssertionError(str(message.error()))
        got.append((message.offset(), message.key(), message.value(), message.headers(), message.timestamp()[1]))
    return got


def verify(bootstrap, topic, n, t0):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "fetch.wait.max.ms": 50})
    check(topic, n, t0, 0, read(consumer, topic, 0, n))
    check(topic, n, t0, n // 2, read(consumer, topic, n // 2, n))
    for time, expected in times(topic, n, t0):
        at = consumer.offsets_for_times([TopicPartition(topic, 0, time)], 20)[0].offset
        assert at == expected, f"offset by time is {at}, expected {expected}"
        check(topic, n, t0, at, read(consumer, topic, at, n))
    consumer.close()


main(write, verify)
