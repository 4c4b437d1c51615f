"""What clients rely on beside plain writing and reading: acknowledgement levels, sizes, codecs and timestamps of topics, the ends of a
log, waiting at its end, many partitions, and clients that speak old versions. Argument: BOOTSTRAP. Passes against Apache Kafka too.
"""
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as OldPartition

bootstrap = sys.argv[1]
admin = AdminClient({"bootstrap.servers": bootstrap})


def create(topic, partitions=1, **config):
    settings = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(30)


def send(topic, values, **config):
    """Delivers values; gives the errors."""
    errors = []
    producer = Producer({"bootstrap.servers": bootstrap, **{name.replace("_", "."): value for name, value in config.items()}})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and errors.append(error.code()))
    assert producer.flush(60) == 0, f"{topic}: not delivered within a minute"
    return errors


def consumer(**config):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                     **{name.replace("_", "."): value for name, value in config.items()}})


def read(topic, count, partitions=1, offset=OFFSET_BEGINNING, **config):
    reader = consumer(**config)
    reader.assign([TopicPartition(topic, partition, offset) for partition in range(partitions)])
    got = []
    while len(got) < count:
        message = reader.poll(30)
        assert message is not None, f"{topic}: {len(got)} of {count} records"
        assert not message.error(), f"{topic}: {message.error()}"
        got.append(message)
    reader.close()
    return got


def values(messages):
    return [message.value() for message in messages]


def acknowledgements():
    for acks in (0, 1, -1):
        create(f"acks{acks}")
        sent = [b"%d" % i for i in range(1000)]
        assert send(f"acks{acks}", sent, acks=acks) == []
        assert values(read(f"acks{acks}", 1000)) == sent, f"acks={acks}"


def sizes():
    create("small", max_message_bytes="10000")
    assert send("small", [b"x" * 20_000]) == [KafkaError.MSG_SIZE_TOO_LARGE]
    assert send("small", [b"x" * 9_000]) == []
    create("large", max_message_bytes="20000000")
    large = [bytes([i]) * 9_000_000 for i in range(3)]
    # Idempotent: only so does a batch that the broker asks to try again keep its place.
    assert send("large", large, message_max_bytes=10_000_000, enable_idempotence=True) == []
    assert values(read("large", 3, fetch_message_max_bytes=1_000_000)) == large, "a batch beyond the limit is given whole"


def codecs_of_topics():
    sent = [b"ice %d" % (i % 10) for i in range(500)]
    for of_topic in ("uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"):
        create(f"codec-{of_topic}", compression_type=of_topic)
        for of_producer in ("none", "gzip", "snappy", "lz4", "zstd"):
            assert send(f"codec-{of_topic}", sent, compression_type=of_producer) == []
        assert values(read(f"codec-{of_topic}", 2500)) == sent * 5, f"{of_topic} from {of_producer}"


def timestamps_of_topics():
    create("append-time", message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000) - 5000
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("append-time", b"x", timestamp=1_000)
    assert producer.flush(60) == 0
    kind, timestamp = read("append-time", 1)[0].timestamp()
    assert kind == 2 and timestamp > before, f"kind {kind}, {timestamp}"


def ends_of_a_log():
    create("ends")
    assert send("ends", [b"%d" % i for i in range(10)]) == []
    assert values(read("ends", 10, offset=1_000_000, auto_offset_reset="earliest"))[0] == b"0"
    strict = consumer(auto_offset_reset="error")
    strict.assign([TopicPartition("ends", 0, 1_000_000)])
    message = strict.poll(30)
    assert message.error() and message.error().code() == KafkaError._AUTO_OFFSET_RESET, message.error()
    strict.close()
    assert admin.delete_records([TopicPartition("ends", 0, 4)])[TopicPartition("ends", 0)].result(30).low_watermark == 4
    assert [m.offset() for m in read("ends", 6)] == list(range(4, 10))


def waiting_at_the_end():
    create("tail", 3)
    reader = consumer(fetch_wait_max_ms=5000)
    reader.assign([TopicPartition("tail", partition, OFFSET_END) for partition in range(3)])
    assert reader.poll(2) is None
    for i in range(20):
        assert send("tail", [b"%d" % i]) == []
        message = reader.poll(30)
        assert message is not None and message.value() == b"%d" % i, f"waiting for {i}"
    reader.close()


def many_partitions():
    create("many", 200)
    producer, sent = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"}), 20_000
    for i in range(sent):
        producer.produce("many", b"%d" % i, b"key-%d" % (i % 997))
    assert producer.flush(60) == 0
    last, homes = {}, {}
    for message in read("many", sent, partitions=200):
        key, number = message.key(), int(message.value())
        assert homes.setdefault(key, message.partition()) == message.partition(), "a key has one partition"
        assert last.get(key, -1) < number, f"{key} is out of order"
        last[key] = number


def two_at_once():
    """A reader that is always behind a writer, through one connection each."""
    create("pipe")
    writer = threading.Thread(target=lambda: send("pipe", [b"%d" % i for i in range(50_000)], linger_ms=0))
    writer.start()
    assert values(read("pipe", 50_000)) == [b"%d" % i for i in range(50_000)]
    writer.join()


def old_versions():
    # Kafka's own first versions with today's record format, and two in between.
    for version in ((0, 11), (1, 0), (2, 1), (3, 0)):
        topic = "old%d-%d" % version
        create(topic)
        producer = KafkaProducer(bootstrap_servers=bootstrap, api_version=version, compression_type="gzip", acks="all")
        for i in range(200):
            producer.send(topic, b"%d" % i, partition=0, headers=[("at", b"%d" % i)])
        producer.flush(60)
        producer.close()
        reader = KafkaConsumer(bootstrap_servers=bootstrap, api_version=version, enable_auto_commit=False)
        partition = OldPartition(topic, 0)
        reader.assign([partition])
        reader.seek_to_beginning(partition)
        got, limit = [], time.monotonic() + 60
        while len(got) < 200 and time.monotonic() < limit:
            got += [message.value for message in reader.poll(1000).get(partition, [])]
        assert got == [b"%d" % i for i in range(200)], f"{topic}: {len(got)} records"
        assert reader.end_offsets([partition])[partition] == 200
        reader.close()


def refusals():
    try:
        consumer().list_topics("no/slash", timeout=20)
    except KafkaException as error:
        raise AssertionError(f"metadata: {error}") from error
    errors = send("no/slash", [b"x"], message_timeout_ms=20_000)
    assert errors == [KafkaError.TOPIC_EXCEPTION], errors


for check in (acknowledgements, sizes, codecs_of_topics, timestamps_of_topics, ends_of_a_log, waiting_at_the_end, many_partitions,
              two_at_once, old_versions, refusals):
    began = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
