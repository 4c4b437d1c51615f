import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What rebalance_member.py is, with the Java client: the same arguments, orders and lines. */
public class RebalanceMember {
    private static final String END = "end";

    public static void main(String[] args) throws Exception {
        String topic = args[2];
        PrintStream log = new PrintStream(new FileOutputStream(args[3], true), false);
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("group.id", args[1]);
        config.put("auto.offset.reset", "latest");
        config.put("key.deserializer", ByteArrayDeserializer.class.getName());
        config.put("value.deserializer", ByteArrayDeserializer.class.getName());
        if (args[4].equals("consumer")) {
            config.put("group.protocol", "consumer");
        } else {
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            config.put("heartbeat.interval.ms", args[5]);
            config.put("session.timeout.ms", args[6]);
        }
        LinkedBlockingQueue<String> orders = new LinkedBlockingQueue<>();
        Thread listener = new Thread(() -> {
            try (BufferedReader input = new BufferedReader(new InputStreamReader(System.in))) {
                for (String line = input.readLine(); line != null; line = input.readLine()) {
                    orders.add(line);
                }
            } catch (java.io.IOException error) {
                System.err.println(error);
            }
            orders.add(END);
        });
        listener.setDaemon(true);
        listener.start();
        Listener changes = new Listener(log);
        while (!orders.take().equals(END)) {
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
                System.out.println("ready");
                System.out.flush();
                if (orders.take().equals(END)) {
                    return;
                }
                consumer.subscribe(List.of(topic), changes);
                while (orders.isEmpty()) {
                    var records = consumer.poll(Duration.ofMillis(10));
                    long now = System.nanoTime();
                    StringBuilder lines = new StringBuilder();
                    for (var record : records) {
                        lines.append("r ").append(record.partition()).append(' ').append(record.offset()).append(' ').append(now).append('\n');
                    }
                    log.print(lines);
                    log.flush();
                }
                if (orders.take().equals(END)) {
                    return;
                }
            }
            changes.left();
        }
    }

    private static class Listener implements ConsumerRebalanceListener {
        private final PrintStream log;
        private final TreeSet<Integer> has = new TreeSet<>();

        Listener(PrintStream log) {
            this.log = log;
        }

        private void note(String what, Collection<Integer> partitions) {
            StringBuilder line = new StringBuilder(what).append(' ').append(System.nanoTime());
            partitions.forEach(partition -> line.append(' ').append(partition));
            log.print(line.append('\n'));
            log.flush();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            List<Integer> came = partitions.stream().map(TopicPartition::partition).toList();
            has.addAll(came);
            note("a", came);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            List<Integer> went = partitions.stream().map(TopicPartition::partition).toList();
            went.forEach(has::remove);
            note("v", went);
        }

        void left() {
            note("v", new TreeSet<>(has));
            has.clear();
        }
    }
}
