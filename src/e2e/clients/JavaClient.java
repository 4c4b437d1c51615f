// The Java client: create, produce with idempotence, verify by assignment. The records are those of records.py.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class JavaClient {
    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int seed, int i, int n, long t0) {
        byte[] key = i % 5 == 0 ? null : i % 5 == 1 ? new byte[0] : bytes("key-" + seed + "-" + i);
        int size = i == n - 1 ? 1_040_000 : i % 7 == 0 && i % 5 != 0 ? -1 : i % 7 < 2 ? 0 : 10 + (i * 37) % 900;
        byte[] value = size < 0 ? null : new byte[size];
        int x = seed * 7919 + i * 104729 + 1;
        for (int j = 0; j < size; j++) {
            x = x * 1664525 + 1013904223;
            value[j] = (byte) (32 + (x >>> 26));
        }
        List<Header> headers = List.<Header>of(
            new RecordHeader("trace", bytes("" + i)), new RecordHeader("empty", new byte[0])).subList(0, i % 3);
        return new ProducerRecord<>(topic, 0, t0 + i * 1000L, key, value, headers);
    }

    static void produce(String bootstrap, String topic, String codec, int n, int seed, long t0) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("compression.type", codec);
        p.put("enable.idempotence", "true");
        p.put("linger.ms", "20");
        p.put("max.request.size", "1100000");
        try (var producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            var futures = new ArrayList<Future<?>>();
            for (int i = 0; i < n; i++) {
                futures.add(producer.send(record(topic, seed, i, n, t0)));
            }
            producer.flush();
            for (var future : futures) {
                future.get();
            }
        }
    }

    static void read(KafkaConsumer<byte[], byte[]> consumer, String topic, int first, int n, int seed, long t0) {
        consumer.seek(new TopicPartition(topic, 0), first);
        int next = first;
        long limit = System.nanoTime() + 60_000_000_000L;
        while (next < n) {
            if (System.nanoTime() > limit) {
                throw new IllegalStateException("from offset " + first + ": only up to " + next + " within a minute");
            }
            for (ConsumerRecord<byte[], byte[]> have : consumer.poll(Duration.ofSeconds(1))) {
                var want = record(topic, seed, next, n, t0);
                if (have.offset() != next || have.timestamp() != want.timestamp() || !Arrays.equals(have.key(), want.key())
                    || !Arrays.equals(have.value(), want.value()) || !have.headers().equals(want.headers())) {
                    throw new IllegalStateException("record " + next + " differs: " + have);
                }
                next++;
            }
        }
    }

    static void verify(String bootstrap, String topic, int n, int seed, long t0) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        try (var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            read(consumer, topic, 0, n, seed, t0);
            read(consumer, topic, n / 2, n, seed, t0);
            long at = consumer.offsetsForTimes(Map.of(partition, t0 + n / 3 * 1000L)).get(partition).offset();
            if (at != n / 3) {
                throw new IllegalStateException("offset by time is " + at + ", expected " + n / 3);
            }
            read(consumer, topic, (int) at, n, seed, t0);
        }
    }

    public static void main(String[] a) throws Exception {
        String bootstrap = a[0], topic = a[2];
        int n = Integer.parseInt(a[4]), seed = Integer.parseInt(a[5]);
        long t0 = Long.parseLong(a[6]);
        switch (a[1]) {
            case "create" -> {
                try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
                    admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
                }
            }
            case "produce" -> produce(bootstrap, topic, a[3], n, seed, t0);
            default -> verify(bootstrap, topic, n, seed, t0);
        }
    }
}
