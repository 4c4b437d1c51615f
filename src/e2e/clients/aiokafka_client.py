"""aiokafka: create, produce with idempotence, verify by assignment."""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from records import T_STEP, arguments, check, record


async def create(bootstrap, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def produce(bootstrap, topic, codec, n, seed, t0):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
                                enable_idempotence=True, linger_ms=20, max_request_size=1100000)
    await producer.start()
    futures = []
    for i in range(n):
        key, value, headers, timestamp = record(seed, i, n, t0)
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


async def verify(bootstrap, topic, n, seed, t0):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    check(seed, n, t0, 0, await read(consumer, partition, 0, n))
    check(seed, n, t0, n // 2, await read(consumer, partition, n // 2, n))
    at = (await consumer.offsets_for_times({partition: t0 + n // 3 * T_STEP}))[partition].offset
    if at != n // 3:
        raise SystemExit(f"offset by time is {at}, expected {n // 3}")
    check(seed, n, t0, at, await read(consumer, partition, at, n))
    await consumer.stop()


bootstrap, command, topic, codec, n, seed, t0 = arguments(sys.argv)
if command == "create":
    asyncio.run(create(bootstrap, topic))
elif command == "produce":
    asyncio.run(produce(bootstrap, topic, codec, n, seed, t0))
else:
    asyncio.run(verify(bootstrap, topic, n, seed, t0))
