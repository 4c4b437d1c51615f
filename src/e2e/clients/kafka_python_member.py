"""kafka-python in a group."""
from kafka import KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

from group_records import bootstrap, group, over, process, topic

consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                         enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
                         metadata_max_age_ms=1000, partition_assignment_strategy=[RangePartitionAssignor])
while not over.is_set():
    records = consumer.poll(200, 100)
    for batch in records.values():
        for record in batch:
            process(record.topic, record.partition, record.offset)
    if records:
        try:
            consumer.commit()
        except KafkaError as error:
            print(error, flush=True)
consumer.close()
