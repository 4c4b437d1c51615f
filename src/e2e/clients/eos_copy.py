"""Copies `in` to `out` in transactions with confluent-kafka; every fifth is aborted on purpose. Its arguments and log are those of eos.py, NAME is its
transactional id, PROTOCOL that of its group (classic, consumer)."""
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from eos import bootstrap, deciding, dealt_with, name, over, place, process, protocol, tell, until_told

ABORTED_EVERY = 5
until_told()
config = {"bootstrap.servers": bootstrap, "group.id": "copiers", "auto.offset.reset": "earliest", "enable.auto.commit": False,
          "isolation.level": "read_committed", "reconnect.backoff.max.ms": 200}
config |= {"group.protocol": "consumer"} if protocol == "consumer" else {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
consumer = Consumer(config)
# Without the strategy librdkafka forgets its only broker when that goes away, and waits for ever for the one that it forgot (its issue 5511).
producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": 10000,
                     "metadata.recovery.strategy": "none", "reconnect.backoff.max.ms": 200})
copied = attempts = 0
dealt_with(copied)


def insist(call, *arguments):
    while True:
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


def moved(_, partitions):
    tell("ok", "rebalance", [f"in-{partition.partition}" for partition in partitions])


def go_back():
    """After an abort: to what is committed. Where that cannot be done somebody has to begin again, else records would be passed."""
    for committed in insist(consumer.committed, consumer.assignment(), 10):
        committed.offset = committed.offset if committed.offset >= 0 else OFFSET_BEGINNING
        consumer.seek(committed)


def abort(value):
    insist(producer.abort_transaction)
    tell("fail", "txn", value)
    go_back()


insist(producer.init_transactions)
consumer.subscribe(["in"], on_assign=moved, on_revoke=moved, on_lost=moved)
while not over.is_set():
    messages = [message for message in consumer.consume(50, 0.2) if message.error() is None]
    dealt_with(copied)
    if not messages:
        continue
    attempts += 1
    tag, polled, sent, positions = f"{process}.{attempts}", {}, [], {}
    for message in messages:
        at, number = message.partition(), int(message.value())
        polled.setdefault(f"in-{at}", []).append([message.offset(), str(number)])
        sent.append((place(number), f"{number}#{tag}"))
        positions[at] = message.offset() + 1
    value = [["poll", polled]] + [["send", f"out-{at}", what] for at, what in sent]
    tell("invoke", "txn", value)
    producer.begin_transaction()
    try:
        for at, what in sent:
            producer.produce("out", what.encode(), partition=at)
        if attempts % (2 * ABORTED_EVERY) == 0:
            # Aborted before its offsets are in it, and when readers could have seen it.
            producer.flush(10)
            abort(value)
            continue
        offsets = [TopicPartition("in", at, offset) for at, offset in positions.items()]
        insist(producer.send_offsets_to_transaction, offsets, consumer.consumer_group_metadata())
        if attempts % ABORTED_EVERY == 0:
            producer.flush(10)
            time.sleep(0.05)
            abort(value)
            continue
        deciding(tag)
        insist(producer.commit_transaction)
        tell("ok", "txn", value)
        copied += len(messages)
        dealt_with(copied)
    except KafkaException as error:
        # Fenced, or the like: whoever starts it again goes on.
        if not error.args[0].txn_requires_abort():
            raise
        print(f"{tag} aborted: {error}", flush=True)
        abort(value)
consumer.close()
