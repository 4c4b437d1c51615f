import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.*;

/** Transactions of kafka-clients, as confluent_txn.py has them. Arguments: broker. */
public class JavaTxn {
    static final int PARTITIONS = 3, RECORDS = 300;
    static String bootstrap;

    static KafkaProducer<String, String> producer(String transactionalId) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        if (transactionalId != null) settings.put("transactional.id", transactionalId);
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        if (transactionalId != null) producer.initTransactions();
        return producer;
    }

    static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", isolation);
        settings.put("max.poll.records", 20);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> partitions(String topic) {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) all.add(new TopicPartition(topic, p));
        return all;
    }

    static Map<String, Integer> read(String isolation) {
        Map<String, Integer> found = new HashMap<>();
        try (var reader = consumer("reader", isolation)) {
            reader.assign(partitions("out"));
            reader.seekToBeginning(partitions("out"));
            var ends = reader.endOffsets(partitions("out"));
            long until = System.nanoTime() + 60_000_000_000L;
            while (partitions("out").stream().anyMatch(p -> reader.position(p) < ends.get(p))) {
                if (System.nanoTime() > until) throw new RuntimeException("out cannot be read to its end, " + isolation);
                for (var record : reader.poll(Duration.ofMillis(200))) found.merge(record.value(), 1, Integer::sum);
            }
        }
        return found;
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        try (var admin = Admin.create(Map.of("bootstrap.servers", (Object) bootstrap))) {
            admin.createTopics(List.of(new NewTopic("in", PARTITIONS, (short) 1), new NewTopic("out", PARTITIONS, (short) 1))).all().get();
        }
        try (var feed = producer(null)) {
            for (int n = 0; n < RECORDS; n++) feed.send(new ProducerRecord<>("in", n % PARTITIONS, null, "" + n));
        }
        var producer = producer("transform");
        var consumer = consumer("transform", "read_committed");
        consumer.subscribe(List.of("in"));
        Set<String> done = new HashSet<>();
        int transactions = 0, aborted = 0;
        long until = System.nanoTime() + 120_000_000_000L;
        while (done.size() < RECORDS) {
            if (System.nanoTime() > until) throw new RuntimeException("only " + done.size() + " records came");
            var records = consumer.poll(Duration.ofMillis(500));
            if (records.isEmpty()) continue;
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            Map<TopicPartition, Long> first = new HashMap<>();
            for (var record : records) {
                var place = new TopicPartition(record.topic(), record.partition());
                producer.send(new ProducerRecord<>("out", Integer.parseInt(record.value()) % PARTITIONS, null, record.value()));
                offsets.put(place, new OffsetAndMetadata(record.offset() + 1));
                first.putIfAbsent(place, record.offset());
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            if (++transactions % 3 == 0) {
                producer.flush();
                producer.abortTransaction();
                aborted++;
                first.forEach(consumer::seek);
            } else {
                producer.commitTransaction();
                for (var record : records) done.add(record.value());
            }
        }
        producer.beginTransaction();
        producer.send(new ProducerRecord<>("out", 0, null, "open")).get();
        var other = producer("transform");
        String fenced = "no";
        try {
            producer.commitTransaction();
        } catch (ProducerFencedException e) {
            fenced = "_FENCED";
        }
        other.beginTransaction();
        other.send(new ProducerRecord<>("out", 0, null, "last"));
        other.commitTransaction();
        var committed = read("read_committed");
        var all = read("read_uncommitted");
        List<Integer> lost = new ArrayList<>();
        for (int n = 0; n < RECORDS; n++) if (!committed.containsKey("" + n)) lost.add(n);
        List<String> repeated = new ArrayList<>();
        committed.forEach((value, count) -> { if (count > 1) repeated.add('"' + value + '"'); });
        int sums = all.values().stream().mapToInt(i -> i).sum() - committed.values().stream().mapToInt(i -> i).sum();
        long offset = consumer.committed(new HashSet<>(partitions("in"))).values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        System.out.printf("{\"aborted\": %d, \"lost\": %s, \"repeated\": %s, \"open_seen\": %d, \"last_seen\": %d, \"aborted_seen_uncommitted\": %d, \"committed_offset\": %d, \"fenced\": \"%s\"}%n",
            aborted, lost, repeated, committed.getOrDefault("open", 0), committed.getOrDefault("last", 0), sums, offset, fenced);
        consumer.close();
        other.close();
        producer.close(Duration.ZERO);
    }
}
