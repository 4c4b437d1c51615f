"""Leaves a transaction open with confluent-kafka: the topic holds a record, one of the open transaction, and one behind it. Arguments: broker, topic,
transactional id."""
import os
import sys

from confluent_kafka import Producer

bootstrap, topic, name = sys.argv[1:]


def write(producer, value):
    producer.produce(topic, value, partition=0)
    if producer.flush(30):
        sys.exit(f"{value} is not acknowledged")


plain = Producer({"bootstrap.servers": bootstrap})
write(plain, b"before")
producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": 900000})
producer.init_transactions(30)
producer.begin_transaction()
write(producer, b"open")
write(plain, b"behind")
os._exit(0)  # without a word to the broker
