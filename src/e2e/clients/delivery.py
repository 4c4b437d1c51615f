"""Runs a program of docs/DELIVERY.md, kills it with -9 in the middle of its work and counts what comes out. Arguments: broker, mode (its group), program."""
import json
import subprocess
import sys
import time
from collections import Counter
from itertools import islice

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, mode, program = sys.argv[1:]
PARTITIONS, RECORDS, ROUND = 2, 6000, 20
KILLED_AFTER = (RECORDS // 3, RECORDS * 2 // 3)
BURST = 500
PATIENCE = 100

admin = AdminClient({"bootstrap.servers": bootstrap})
for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in ("in", "out")]).values():
    made.result()
reader = Consumer({"bootstrap.servers": bootstrap, "group.id": mode, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                   "isolation.level": "read_committed", "enable.partition.eof": True})
feed = Producer({"bootstrap.servers": bootstrap})
kills = 0


def start():
    return subprocess.Popen([sys.executable, program, bootstrap], stdin=subprocess.DEVNULL)


def kill(process):
    process.kill()
    process.wait()


def partitions(topic):
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]


def ends(topic):
    return [reader.get_watermark_offsets(at, timeout=10)[1] for at in partitions(topic)]


def all_committed():
    return [at.offset for at in reader.committed(partitions("in"), 10)] == ends("in")


def until(what, done):
    global app
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            sys.exit(f"{mode}: {what} did not come")
        if app.poll() is not None:
            app = start()
        time.sleep(0.1)


app = start()
try:
    until("the first result", lambda: feed.produce("in", b"0") or feed.flush() == 0 and sum(ends("out")) > 0)
    numbers = iter(range(1, RECORDS))
    for number in numbers:
        feed.produce("in", str(number).encode())
        if number % ROUND == 0:
            feed.flush()
            time.sleep(0.005)  # slower than the program, so that it is killed at work
        if number in KILLED_AFTER:
            for number in islice(numbers, BURST):  # so that there is work when it is killed
                feed.produce("in", str(number).encode())
            feed.flush()
            seen = sum(ends("out"))
            kill(app)
            app = start()
            until("work after a kill", lambda: sum(ends("out")) > seen or all_committed())
    feed.flush()
    until("the end", all_committed)
    # Whoever commits first has the rest of its work before it.
    if mode == "at-most-once":
        time.sleep(1)
finally:
    kill(app)

reader.assign([TopicPartition("out", partition, 0) for partition in range(PARTITIONS)])
out, left = Counter(), PARTITIONS
while left:
    message = reader.poll(10)
    if message is None:
        sys.exit("out cannot be read to its end")
    if message.error() is None:
        out[int(message.value())] += 1
    else:
        left -= 1
lost = [number for number in range(1, RECORDS) if number not in out]
repeated = [number for number in range(1, RECORDS) if out[number] > 1]
print(json.dumps({"results": len(out), "lost": len(lost), "repeated": len(repeated)}))
