"""An idempotent producer that outlives its broker: numbers every record, and writes down what was acknowledged.

BOOTSTRAP TOPIC PARTITIONS LOG: sends without end until standard input is closed, then waits for what is on the way. A line of LOG is
`PARTITION OFFSET NUMBER`, written when the record was acknowledged; the last line is `end SENT`. The numbers of a partition are in the
order of its lines and of its offsets, as far as the promise of an idempotent producer goes.
"""
import select
import sys
import time

from confluent_kafka import Producer

bootstrap, topic, partitions, log = sys.argv[1], sys.argv[2], int(sys.argv[3]), open(sys.argv[4], "w", buffering=1)
failed = []


def delivered(error, message):
    if error:
        failed.append(str(error))
        return
    log.write(f"{message.partition()} {message.offset()} {message.value()[:12].decode()}\n")


producer = Producer({
    "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 2, "compression.type": "none",
    # Reconnects at once, and never gives a record up: a broker that comes back must find everything.
    "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50, "retry.backoff.ms": 20, "message.timeout.ms": 0,
    "retries": 2147483647, "socket.timeout.ms": 5000, "batch.num.messages": 200, "log_level": 2,
})
number, filling = 0, b"x" * 1000
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(200):
        partition = number % partitions
        try:
            producer.produce(topic, b"%012d" % number + filling, partition=partition, on_delivery=delivered)
            number += 1
        except BufferError:
            producer.poll(0.01)
    producer.poll(0)
    # A few tens of thousands a second are load enough, and leave the broker's own work to be seen.
    time.sleep(0.004)
left = producer.flush(60)
if left or failed:
    sys.exit(f"{left} records are not acknowledged after a minute; failed: {failed[:3]}")
log.write(f"end {number}\n")
log.close()
