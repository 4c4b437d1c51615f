// The copier (or, named verifier, the verifier) of the exactly-once tests with kafka-clients. Arguments, log and what it does are those of eos.py,
// eos_copy.py and eos_verify.py; PROTOCOL: classic (cooperative), consumer.

import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.*;

public class JavaEos {
    static final int PARTITIONS = 4, ABORTED_EVERY = 5;
    static final long PATIENCE_NS = 90_000_000_000L;
    static final AtomicBoolean over = new AtomicBoolean();
    static String bootstrap, name, process, protocol;
    static FileChannel lines, count;

    static synchronized void line(String line) throws java.io.IOException {
        lines.write(ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8)));
    }

    static void tell(String kind, String f, String value, String more) {
        try {
            line("{\"process\":" + process + ",\"type\":\"" + kind + "\",\"f\":\"" + f + "\",\"value\":[" + value + "]" + more + "}");
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    static void dealtWith(long number) throws java.io.IOException {
        count.write(ByteBuffer.wrap(String.format("%20d", number).getBytes(StandardCharsets.UTF_8)), 0);
    }

    static String keys(String topic, Collection<TopicPartition> partitions) {
        return partitions.stream().map(p -> "\"" + topic + "-" + p.partition() + "\"").collect(Collectors.joining(","));
    }

    /** A poll's step. */
    static String polled(String topic, ConsumerRecords<String, String> records) {
        return "[\"poll\",{" + records.partitions().stream().map(p -> "\"" + topic + "-" + p.partition() + "\":["
            + records.records(p).stream().map(r -> "[" + r.offset() + ",\"" + r.value() + "\"]").collect(Collectors.joining(",")) + "]")
            .collect(Collectors.joining(",")) + "}]";
    }

    static KafkaConsumer<String, String> consumer(String group, String isolation, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", isolation);
        settings.put("max.poll.records", 50);
        settings.put("reconnect.backoff.max.ms", 200);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    public static void main(String[] a) throws Exception {
        bootstrap = a[0];
        name = a[1];
        process = a[2];
        protocol = a[4];
        var modes = Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        lines = FileChannel.open(Path.of(a[3]), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        count = FileChannel.open(Path.of(a[3] + ".count"), modes);
        dealtWith(0);
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException gone) { }
            over.set(true);
        });
        input.setDaemon(true);
        input.start();
        try {
            if (name.equals("verifier")) verify();
            else copy();
        } catch (KafkaException error) {
            for (Throwable why = error; why != null; why = why.getCause()) System.out.println(why);
            System.exit(1);
        }
    }

    static void verify() throws Exception {
        List<TopicPartition> places = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) places.add(new TopicPartition("out", p));
        try (var reader = consumer("verifier", "read_committed", Map.of("max.poll.records", 500));
             var uncommitted = consumer("verifier", "read_uncommitted", Map.of())) {
            reader.assign(places);
            reader.seekToBeginning(places);
            tell("ok", "assign", keys("out", places), "");
            Set<String> seen = new HashSet<>();
            Map<TopicPartition, Long> ends = null;
            long limit = 0;
            while (true) {
                var records = reader.poll(Duration.ofMillis(100));
                long at = System.nanoTime();
                if (!records.isEmpty()) tell("ok", "poll", polled("out", records), ",\"at\":" + at);
                for (var record : records) seen.add(record.value().split("#")[0]);
                dealtWith(seen.size());
                if (!over.get()) continue;
                if (ends == null) {
                    // Of a reader of everything: what is open or not decided stands there too.
                    ends = uncommitted.endOffsets(places);
                    limit = System.nanoTime() + PATIENCE_NS;
                }
                var wanted = ends;
                if (places.stream().allMatch(p -> reader.position(p) >= wanted.get(p))) return;
                if (System.nanoTime() > limit) throw new RuntimeException("out cannot be read to its end " + ends);
            }
        }
    }

    static KafkaConsumer<String, String> consumer;
    static KafkaProducer<String, String> producer;

    static class Moved implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            if (!partitions.isEmpty()) tell("ok", "rebalance", keys("in", partitions), "");
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            onPartitionsAssigned(partitions);
        }
    }

    /** After an abort: to what is committed. Where that cannot be done somebody has to begin again, else records would be passed. */
    static void goBack() {
        consumer.committed(consumer.assignment()).forEach((place, committed) -> {
            if (committed == null) consumer.seekToBeginning(List.of(place));
            else consumer.seek(place, committed);
        });
    }

    static void abort(String value) {
        producer.abortTransaction();
        tell("fail", "txn", value, "");
        goBack();
    }

    static void copy() throws Exception {
        Map<String, Object> of = protocol.equals("consumer") ? Map.of("group.protocol", "consumer")
            : Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName(), "session.timeout.ms", 6000, "heartbeat.interval.ms", 500);
        consumer = consumer("copiers", "read_committed", of);
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", name, "transaction.timeout.ms", 10000,
            "reconnect.backoff.max.ms", 200);
        producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        consumer.subscribe(List.of("in"), new Moved());
        long copied = 0;
        for (int attempts = 0; !over.get(); ) {
            var records = consumer.poll(Duration.ofMillis(200));
            dealtWith(copied);
            if (records.isEmpty()) continue;
            String tag = process + "." + ++attempts;
            List<ProducerRecord<String, String>> results = new ArrayList<>();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            var value = new StringBuilder(polled("in", records));
            for (var record : records) {
                int number = Integer.parseInt(record.value()), at = number / 3 % PARTITIONS;
                results.add(new ProducerRecord<>("out", at, null, number + "#" + tag));
                value.append(",[\"send\",\"out-" + at + "\",\"" + number + "#" + tag + "\"]");
                offsets.put(new TopicPartition("in", record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            tell("invoke", "txn", value.toString(), "");
            producer.beginTransaction();
            try {
                for (var result : results) producer.send(result);
                if (attempts % (2 * ABORTED_EVERY) == 0) {
                    producer.flush();
                    abort(value.toString());
                    continue;
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (attempts % ABORTED_EVERY == 0) {
                    producer.flush();
                    Thread.sleep(50);
                    abort(value.toString());
                    continue;
                }
                line("{\"deciding\":\"" + tag + "\",\"at\":" + System.nanoTime() + "}");
                commit();
                tell("ok", "txn", value.toString(), "");
                copied += records.count();
                dealtWith(copied);
            } catch (KafkaException error) {
                System.out.println(tag + " aborted: " + error);
                // What cannot be aborted, as this one was fenced, ends the program: whoever starts it again goes on.
                abort(value.toString());
            }
        }
        consumer.close();
        producer.close();
    }

    static void commit() {
        while (true) {
            try {
                producer.commitTransaction();
                return;
            } catch (TimeoutException again) {
                System.out.println(again);
            }
        }
    }
}
