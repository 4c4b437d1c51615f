"""aiokafka in a group."""
import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from group_records import bootstrap, group, over, process, topic


async def run():
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                                enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
                                metadata_max_age_ms=1000)
    await consumer.start()
    while not over.is_set():
        records = await consumer.getmany(timeout_ms=200, max_records=100)
        for batch in records.values():
            for record in batch:
                process(record.topic, record.partition, record.offset)
        if records:
            try:
                await consumer.commit()
            except KafkaError as error:
                print(error, flush=True)
    await consumer.stop()


asyncio.run(run())
