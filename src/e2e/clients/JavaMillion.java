// A million small records through the Java client: idempotent, lz4, to several partitions; then all of them read back and checked.
// Arguments: BOOTSTRAP TOPIC PARTITIONS COUNT.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class JavaMillion {
    public static void main(String[] a) throws Exception {
        String bootstrap = a[0], topic = a[1];
        int partitions = Integer.parseInt(a[2]), count = Integer.parseInt(a[3]);
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        try (Admin admin = Admin.create(p)) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
        p.put("compression.type", "lz4");
        var failure = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, "key-" + i, "value " + i), (metadata, error) -> {
                    if (error != null) {
                        failure.set(error);
                    }
                });
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        try (var consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
            var all = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            int[] next = IntStream.range(0, partitions).toArray();
            long limit = System.nanoTime() + 120_000_000_000L;
            for (int read = 0; read < count;) {
                if (System.nanoTime() > limit) {
                    throw new IllegalStateException("only " + read + " records within two minutes");
                }
                for (var have : consumer.poll(Duration.ofSeconds(1))) {
                    int want = next[have.partition()];
                    if (have.offset() != want / partitions || !have.key().equals("key-" + want) || !have.value().equals("value " + want)) {
                        throw new IllegalStateException("partition " + have.partition() + ", offset " + have.offset() + ": " + have.key()
                            + " where key-" + want + " belongs");
                    }
                    next[have.partition()] += partitions;
                    read++;
                }
            }
        }
        System.out.println(count + " records through " + partitions + " partitions");
    }
}
