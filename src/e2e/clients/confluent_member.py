"""confluent-kafka in a group, by the classic protocol (eager, cooperative) or KIP-848 (consumer)."""
from confluent_kafka import Consumer, KafkaException

from group_records import bootstrap, group, over, process, protocol, topic

config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
          "topic.metadata.refresh.interval.ms": 1000}
if protocol == "consumer":
    config["group.protocol"] = "consumer"
else:
    strategy = {"eager": "range", "cooperative": "cooperative-sticky"}[protocol]
    config |= {"partition.assignment.strategy": strategy, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
consumer = Consumer(config)
consumer.subscribe([topic])
while not over.is_set():
    messages = consumer.consume(100, 0.2)
    for message in messages:
        if message.error() is None:
            process(message.partition(), message.offset())
    if messages:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            print(error, flush=True)  # a rebalance or a restart came between: the records come again
consumer.close()
