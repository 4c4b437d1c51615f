"""aiokafka: create, produce with idempotence, verify by assignment."""
import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from records import check, main, record, times


async def write(bootstrap, topic, codec, n, t0):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
                                enable_idempotence=True, linger_ms=20, max_request_size=1100000)
    await producer.start()
    futures = []
    for i in range(n):
        key, value, headers, timestamp = record("aiokafka", i, n, t0)
        futures.append(await producer.send(topic, value, key, 0, timestamp, headers))
    await asyncio.wait_for(asyncio.gather(*futures), 60)
    await producer.stop()


async def read(consumer, partition, first, n):
    consumer.seek(partition, first)
    got = []
    while len(got) < n - first:
        message = await asyncio.wait_for(consumer.getone(), 20)
        got.append((message.offset, message.key, message.value, message.headers, message.timestamp))
    return got


async def verify(bootstrap, topic, n, t0):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    check(topic, n, t0, 0, await read(consumer, partition, 0, n))
    check(topic, n, t0, n // 2, await read(consumer, partition, n // 2, n))
    for timestamp, expected in times(topic, n, t0):
        at = (await consumer.offsets_for_times({partition: timestamp}))[partition].offset
        assert at == expected, f"offset by time is {at}, expected {expected}"
        check(topic, n, t0, at, await read(consumer, partition, at, n))
    await consumer.stop()


main(lambda *a: asyncio.run(write(*a)), lambda *a: asyncio.run(verify(*a)))
