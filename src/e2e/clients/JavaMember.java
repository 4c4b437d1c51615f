// The Java client in a group, by the classic protocol (eager, cooperative) or KIP-848 (consumer). Arguments and log are those of group_records.py.

import java.io.FileWriter;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class JavaMember {
    private static final ConsumerRebalanceListener TELL = new ConsumerRebalanceListener() {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            System.out.println("assigned " + partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            System.out.println("revoked " + partitions);
        }
    };

    public static void main(String[] a) throws Exception {
        String bootstrap = a[0], group = a[1], topic = a[2], log = a[3], protocol = a[4];
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("metadata.max.age.ms", "1000");
        if (protocol.equals("consumer")) {
            p.put("group.protocol", "consumer");
        } else {
            String assignor = protocol.equals("eager") ? "RangeAssignor" : "CooperativeStickyAssignor";
            p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
            // A static member has time to come back.
            p.put("session.timeout.ms", a.length > 5 ? "45000" : "6000");
            p.put("heartbeat.interval.ms", "500");
        }
        if (a.length > 5) {
            p.put("group.instance.id", a[5]);
        }
        AtomicBoolean over = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException gone) { }
            over.set(true);
        });
        input.setDaemon(true);
        input.start();
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(p, bytes, bytes); var processed = new FileWriter(log, true)) {
            if (!topic.startsWith("^")) {
                consumer.subscribe(List.of(topic), TELL);
            } else if (protocol.equals("consumer")) {
                // Only here does the broker look for the topics.
                consumer.subscribe(new SubscriptionPattern(topic), TELL);
            } else {
                consumer.subscribe(Pattern.compile(topic), TELL);
            }
            while (!over.get()) {
                var records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    processed.write(record.topic() + " " + record.partition() + " " + record.offset() + "\n");
                }
                processed.flush();
                try {
                    if (!records.isEmpty()) {
                        consumer.commitSync();
                    }
                } catch (KafkaException between) {
                    System.out.println(between);
                }
            }
        }
    }
}
