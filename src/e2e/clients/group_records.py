"""What the members of a group have in common. Arguments: BOOTSTRAP GROUP TOPIC LOG PROTOCOL [INSTANCE]. TOPIC may be a regular expression
that begins with ^, INSTANCE makes a static member. A member appends a line TOPIC PARTITION OFFSET to LOG for every record that it has processed,
then commits; a change of what it has goes to standard output. It closes its consumer and ends when its standard input is closed."""
import sys
import threading

bootstrap, group, topic, log, protocol = sys.argv[1:6]
instance = sys.argv[6] if len(sys.argv) > 6 else None
over = threading.Event()


def wait():
    sys.stdin.buffer.read()
    over.set()


threading.Thread(target=wait, daemon=True).start()
processed = open(log, "a", buffering=1)


def process(topic, partition, offset):
    processed.write(f"{topic} {partition} {offset}\n")
