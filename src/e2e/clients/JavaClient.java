// The Java client: create, produce with idempotence, verify by assignment. Arguments and records are those of records.py.

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

    static boolean isKcats(String topic) {
        return topic.contains("-kcat-");
    }

    /** A record without timestamp carries the writer's own time. */
    static ProducerRecord<byte[], byte[]> record(String topic, int i, int n, long t0) {
        if (isKcats(topic)) {
            var headers = List.<Header>of(new RecordHeader("trace", bytes("e2e")));
            return new ProducerRecord<>(topic, 0, null, bytes("key-" + i), bytes("value " + i), headers);
        }
        byte[] key = i % 5 == 0 ? null : i % 5 == 1 ? new byte[0] : bytes("key-" + i);
        int size = i == n - 1 ? 1_040_000 : i % 7 == 0 && i % 5 != 0 ? -1 : i % 7 < 2 ? 0 : 10 + (i * 37) % 900;
        byte[] value = size < 0 ? null : new byte[size];
        int x = i * 104729 + 1;
        for (int j = 0; j < size; j++) {
            x = x * 1664525 + 1013904223;
            value[j] = (byte) (32 + (x >>> 26));
        }
        List<Header> headers = List.<Header>of(
            new RecordHeader("trace", bytes("" + i)), new RecordHeader("empty", new byte[0])).subList(0, i % 3);
        return new ProducerRecord<>(topic, 0, t0 + i * 1000L, key, value, headers);
    }

    static void write(String bootstrap, String topic, String codec, int n, long t0) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        }
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("compression.type", codec);
        p.put("enable.idempotence", "true");
        p.put("linger.ms", "20");
        p.put("max.request.size", "1100000");
        try (var producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            var futures = new ArrayList<Future<?>>();
            for (int i = 0; i < n; i++) {
                futures.add(producer.send(record(topic, i, n, t0)));
            }
            producer.flush();
            for (var future : futures) {
                future.get();
            }
        }
    }

    static void read(KafkaConsumer<byte[], byte[]> consumer, String topic, int first, int n, long t0) {
        consumer.seek(new TopicPartition(topic, 0), first);
        int next = first;
        long limit = System.nanoTime() + 60_000_000_000L;
        while (next < n) {
            if (System.nanoTime() > limit) {
                throw new IllegalStateException("from offset " + first + ": only up to " + next + " within a minute");
            }
            for (ConsumerRecord<byte[], byte[]> have : consumer.poll(Duration.ofSeconds(1))) {
                var want = record(topic, next, n, t0);
                boolean sameTime = want.timestamp() == null || have.timestamp() == want.timestamp();
                if (have.offset() != next || !sameTime || !Arrays.equals(have.key(), want.key())
                    || !Arrays.equals(have.value(), want.value()) || !have.headers().equals(want.headers())) {
                    throw new IllegalStateException("record " + next + " differs: " + have.offset() + " " + have.timestamp());
                }
                next++;
            }
        }
    }

    static void verify(String bootstrap, String topic, int n, long t0) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("fetch.max.wait.ms", "50");
        try (var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            read(consumer, topic, 0, n, t0);
            read(consumer, topic, n / 2, n, t0);
            if (isKcats(topic)) {
                return;
            }
            long at = consumer.offsetsForTimes(Map.of(partition, t0 + n / 3 * 1000L)).get(partition).offset();
            if (at != n / 3) {
                throw new IllegalStateException("offset by time is " + at + ", expected " + n / 3);
            }
            read(consumer, topic, (int) at, n, t0);
        }
    }

    public static void main(String[] a) {
        String bootstrap = a[0], command = a[1];
        int n = Integer.parseInt(a[2]);
        long t0 = Long.parseLong(a[3]);
        var failures = new ArrayList<String>();
        for (int i = 4; i < a.length && failures.size() < 3; i++) {
            String topic = a[i];
            try {
                if (command.equals("write")) {
                    write(bootstrap, topic, topic.substring(topic.lastIndexOf('-') + 1), n, t0);
                } else {
                    verify(bootstrap, topic, n, t0);
                }
            } catch (Exception error) {
                error.printStackTrace();
                failures.add("FAILED " + topic + ": " + error);
            }
        }
        failures.forEach(System.err::println);
        System.exit(failures.isEmpty() ? 0 : 1);
    }
}
