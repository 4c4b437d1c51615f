"""Transactions of confluent-kafka: consume, transform, produce, with aborts between, then an instance that takes the id over. Arguments: broker, shards.

Prints what a reader of committed records finds in the end, and whether the old instance was fenced."""
import json
import sys
from collections import Counter

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap = sys.argv[1]
PARTITIONS, RECORDS, BATCH = 3, 300, 20

admin = AdminClient({"bootstrap.servers": bootstrap})
for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in ("in", "out")]).values():
    made.result()
feed = Producer({"bootstrap.servers": bootstrap})
for number in range(RECORDS):
    feed.produce("in", str(number).encode(), partition=number % PARTITIONS)
feed.flush()


def transactional():
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "transform", "transaction.timeout.ms": 60000})
    producer.init_transactions(30)
    return producer


def read(isolation):
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                       "isolation.level": isolation, "enable.partition.eof": True})
    reader.assign([TopicPartition("out", partition, 0) for partition in range(PARTITIONS)])
    found, left = Counter(), PARTITIONS
    while left:
        message = reader.poll(30)
        if message is None:
            sys.exit(f"out cannot be read to its end, {isolation}: {sum(found.values())} records so far")
        if message.error() is None:
            found[message.value().decode()] += 1
        else:
            left -= 1
    reader.close()
    return found


producer = transactional()
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "transform", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
consumer.subscribe(["in"])
done, transactions, aborted = set(), 0, 0
while len(done) < RECORDS:
    messages = consumer.consume(BATCH, 30)
    if not messages:
        sys.exit(f"nothing came after {len(done)} records")
    producer.begin_transaction()
    for message in messages:
        if message.error() is not None:
            sys.exit(str(message.error()))
        producer.produce("out", message.value(), partition=int(message.value()) % PARTITIONS)
    offsets = {message.partition(): message.offset() + 1 for message in messages}
    offsets = [TopicPartition("in", partition, offset) for partition, offset in offsets.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
    transactions += 1
    if transactions % 3 == 0:
        producer.flush()
        producer.abort_transaction(30)
        aborted += 1
        first = {}
        for message in messages:
            first.setdefault(message.partition(), message.offset())
        for partition, offset in first.items():
            consumer.seek(TopicPartition("in", partition, offset))
    else:
        producer.commit_transaction(30)
        done.update(message.value() for message in messages)

# Left open, then taken over: what it wrote is aborted, and it can do nothing more.
producer.begin_transaction()
producer.produce("out", b"open", partition=0)
producer.flush()
other = transactional()
try:
    producer.commit_transaction(30)
    fenced = "no"
except KafkaException as error:
    fenced = error.args[0].name()
other.begin_transaction()
other.produce("out", b"last", partition=0)
other.commit_transaction(30)

committed, all_of_them = read("read_committed"), read("read_uncommitted")
offsets = consumer.committed([TopicPartition("in", partition) for partition in range(PARTITIONS)], 30)
print(json.dumps({
    "aborted": aborted,
    "lost": [number for number in range(RECORDS) if committed[str(number)] == 0],
    "repeated": [value for value, count in committed.items() if count > 1],
    "open_seen": committed["open"],
    "last_seen": committed["last"],
    "aborted_seen_uncommitted": sum(all_of_them.values()) - sum(committed.values()),
    "committed_offset": sum(at.offset for at in offsets),
    "fenced": fenced,
}))
