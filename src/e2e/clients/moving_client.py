"""An idempotent producer and a consumer turn to one partition after the other, so that a broker that moves connections moves theirs while they
work. Every record comes in order, once. Arguments: BOOTSTRAP, RECORDS for each partition.
"""
import sys
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, count = sys.argv[1], int(sys.argv[2])
PARTITIONS = 8
TOPIC = "moving"

admin = AdminClient({"bootstrap.servers": bootstrap})
admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0, "batch.num.messages": 10})
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                     "fetch.wait.max.ms": 3, "fetch.min.bytes": 1})
failures = []


def delivered(error, message, expected):
    if error is not None:
        failures.append(f"{expected}: {error}")
    elif message.offset() != expected:
        failures.append(f"record {expected} stands at {message.offset()}")


def write(partition):
    for number in range(count):
        def told(error, message, number=number):
            delivered(error, message, number)
        # Sizes from next to nothing to some tens of kilobytes: requests that come in one piece and in several.
        value = f"{partition}-{number}-".encode() + b"x" * (number * number % 30_000 if number % 50 == 0 else number % 100)
        producer.produce(TOPIC, value, partition=partition, on_delivery=told)
        producer.poll(0)
        if len(producer) > 200:
            producer.poll(0.001)
    if producer.flush(60) != 0:
        failures.append(f"partition {partition}: not delivered within a minute")


for partition in range(PARTITIONS):
    consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING)])
    writer = threading.Thread(target=write, args=(partition,))
    writer.start()
    silent = 0
    number = 0
    while number < count and silent < 30:
        message = consumer.poll(1)
        if message is None:
            silent += 1
            continue
        silent = 0
        if message.error():
            failures.append(f"partition {partition}: {message.error()}")
            continue
        if (message.partition(), message.offset()) != (partition, number):
            failures.append(f"{message.partition()}@{message.offset()} came, {partition}@{number} was next")
        if not message.value().startswith(f"{partition}-{number}-".encode()):
            failures.append(f"{partition}@{number} has another record's bytes")
        number += 1
    writer.join()
    if number < count:
        failures.append(f"partition {partition}: {number} of {count} records came")
    if failures:
        sys.exit("\n".join(failures[:20]))
consumer.close()
