"""confluent-kafka in a group, by the classic protocol (eager, cooperative) or KIP-848 (consumer)."""
from confluent_kafka import Consumer, KafkaException

from group_records import bootstrap, group, instance, over, process, protocol, topic

# A static member has time to come back.
session_ms = 45000 if instance else 6000
config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
          "topic.metadata.refresh.interval.ms": 1000}
if protocol == "consumer":
    config["group.protocol"] = "consumer"
else:
    strategy = {"eager": "range", "cooperative": "cooperative-sticky"}[protocol]
    config |= {"partition.assignment.strategy": strategy, "session.timeout.ms": session_ms, "heartbeat.interval.ms": 500}
if instance:
    config["group.instance.id"] = instance


def tell(what):
    return lambda _, partitions: print(what, sorted(partition.partition for partition in partitions), flush=True)


consumer = Consumer(config)
consumer.subscribe([topic], on_assign=tell("assigned"), on_revoke=tell("revoked"), on_lost=tell("lost"))
while not over.is_set():
    messages = consumer.consume(100, 0.2)
    for message in messages:
        if message.error() is None:
            process(message.topic(), message.partition(), message.offset())
    if messages:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            print(error, flush=True)  # a rebalance or a restart came between: the records come again
consumer.close()
