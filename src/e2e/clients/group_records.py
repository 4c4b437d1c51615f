"""What the members of a group have in common. Arguments: BOOTSTRAP GROUP TOPIC LOG PROTOCOL. A member appends a line PARTITION OFFSET to LOG for every
record that it has processed, then commits. It leaves the group and ends when its standard input is closed."""
import sys
import threading

bootstrap, group, topic, log, protocol = sys.argv[1:6]
over = threading.Event()


def wait():
    sys.stdin.buffer.read()
    over.set()


threading.Thread(target=wait, daemon=True).start()
processed = open(log, "a", buffering=1)


def process(partition, offset):
    processed.write(f"{partition} {offset}\n")
