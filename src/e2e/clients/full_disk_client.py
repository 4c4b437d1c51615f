"""An idempotent producer that meets a full disk: it waits, and goes on by itself once a topic has been deleted.

BOOTSTRAP BROKER_LOG: fills topic `old`, then topic `live` until the broker's log says that it takes no more; reads meanwhile; deletes
`old`; and finds everything of `live` delivered, each record once and in order.
"""
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, broker_log = sys.argv[1:3]
FULL, AGAIN = "no records are taken", "records are taken again"
OLD_RECORDS, FILLING = 3000, b"o" * 100_000
LIVE_MAX = 6000  # More than the disk has room for.

admin = AdminClient({"bootstrap.servers": bootstrap})
for future in admin.create_topics([NewTopic("old", 1, 1), NewTopic("live", 1, 1)]).values():
    future.result(30)

errors, delivered = [], 0


def count(error, _):
    global delivered
    if error:
        errors.append(str(error))
    delivered += 1


def said(line):
    return line in open(broker_log).read()


producer = Producer({
    "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "message.timeout.ms": 0, "retries": 2147483647,
    "queue.buffering.max.messages": 100, "linger.ms": 1, "retry.backoff.ms": 50, "retry.backoff.max.ms": 200,
})


def send(topic, number):
    """Waits for room in the client's queue, unless the disk is full."""
    while True:
        try:
            producer.produce(topic, b"%08d" % number + FILLING, partition=0, on_delivery=count)
            return True
        except BufferError:
            producer.poll(0.05)
            if said(FULL):
                return False


for number in range(OLD_RECORDS):
    assert send("old", number), "the disk is full before its time"
assert producer.flush(60) == 0 and not errors, errors
sent, delivered = 0, 0
while not said(FULL):
    assert sent < LIVE_MAX, "the disk never gets full"
    sent += send("live", sent)
# Refused now, and reading goes on.
queued = len(producer)
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})


def read(topic, least):
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    for number in range(least):
        message = consumer.poll(30)
        assert message is not None and not message.error(), f"{topic} {number}: {message and message.error()}"
        assert message.offset() == number, f"{topic}: offset {message.offset()}, expected {number}"
        assert message.value() == b"%08d" % number + FILLING, f"{topic}: record {number} is {message.value()[:8]}"


read("old", OLD_RECORDS)
read("live", delivered)
assert not said(AGAIN), "there is room before anything was deleted"
admin.delete_topics(["old"])["old"].result(30)
left = producer.flush(120)
assert left == 0 and not errors, f"{left} records are not delivered; {errors[:3]}"
assert said(AGAIN)
assert delivered == sent, f"{sent} sent, {delivered} delivered"
assert consumer.get_watermark_offsets(TopicPartition("live", 0), 20) == (0, sent)
read("live", sent)
print(f"full after {sent} records with {queued} on the way; all delivered once there was room")
