"""Reads a topic from its start and compares it with what a crash_producer wrote down.

BOOTSTRAP TOPIC PARTITIONS LOG: every acknowledged record stands at its offset; no number stands twice; numbers ascend by one step in
every partition; and nothing that was sent is missing, since the producer gave nothing up.
"""
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

bootstrap, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
lines = [line.split() for line in open(sys.argv[4])]
assert lines[-1][0] == "end", "the producer did not come to its end"
sent = int(lines[-1][1])
acknowledged = {(int(partition), int(offset)): int(number) for partition, offset, number in lines[:-1]}
assert len(acknowledged) == len(lines) - 1, "two acknowledgements for one offset"
assert len(acknowledged) == sent, f"{sent} sent, {len(acknowledged)} acknowledged"

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})
consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
ends = {partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), 20)[1] for partition in range(partitions)}
assert sum(ends.values()) == sent, f"{sent} sent, the partitions end at {ends}"
expected, read = list(range(partitions)), 0
while read < sent:
    messages = consumer.consume(10_000, 20)
    assert messages, f"nothing for 20 s after {read} of {sent} records"
    for message in messages:
        assert not message.error(), message.error()
        partition, offset, number = message.partition(), message.offset(), int(message.value()[:12])
        assert number == expected[partition], f"partition {partition}, offset {offset}: record {number}, expected {expected[partition]}"
        assert len(message.value()) == 1012, f"record {number} has {len(message.value())} bytes"
        noted = acknowledged.pop((partition, offset), None)
        assert noted == number, f"partition {partition}, offset {offset}: record {number}, acknowledged was {noted}"
        expected[partition] += partitions
        read += 1
assert not acknowledged, f"{len(acknowledged)} acknowledged records are lost"
print(f"{sent} records, all acknowledged, each once and in order")
