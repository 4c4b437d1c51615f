// Everything that Java's admin client asks of one broker: topics, settings, partitions, records, places on disk. Argument: BOOTSTRAP.

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class JavaAdmin {
    static void same(Object have, Object want, String what) {
        if (!have.equals(want)) {
            throw new AssertionError(what + ": " + have + ", expected " + want);
        }
    }

    static void refused(KafkaFuture<?> future, Class<?> kind, String what) throws Exception {
        try {
            future.get();
        } catch (ExecutionException error) {
            same(error.getCause().getClass(), kind, what);
            return;
        }
        throw new AssertionError(what + " was not refused");
    }

    static String setting(Admin admin, ConfigResource of, String name) throws Exception {
        ConfigEntry entry = admin.describeConfigs(List.of(of)).all().get().get(of).get(name);
        return entry.value() + " " + entry.source();
    }

    static void alter(Admin admin, ConfigResource of, String name, String value, AlterConfigOp.OpType how) throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(name, value), how));
        admin.incrementalAlterConfigs(Map.of(of, ops)).all().get();
    }

    static void topics(Admin admin) throws Exception {
        // As the command line tools do it: the broker's own number of partitions and replicas.
        admin.createTopics(List.of(new NewTopic("plain", Optional.empty(), Optional.empty()))).all().get();
        admin.createTopics(List.of(new NewTopic("wide", 3, (short) 1).configs(Map.of("retention.ms", "86400000")))).all().get();
        refused(admin.createTopics(List.of(new NewTopic("wide", 3, (short) 1))).all(), TopicExistsException.class, "a topic twice");
        refused(admin.createTopics(List.of(new NewTopic("no/slash", 1, (short) 1))).all(), InvalidTopicException.class, "a bad name");
        refused(admin.createTopics(List.of(new NewTopic("bad", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all(),
            InvalidConfigurationException.class, "a bad setting");
        same(admin.listTopics().names().get(), Set.of("plain", "wide"), "topics");
        var wide = admin.describeTopics(List.of("wide")).allTopicNames().get().get("wide");
        same(wide.partitions().size(), 3, "partitions");
        same(wide.partitions().get(2).leader().id(), wide.partitions().get(2).isr().get(0).id(), "the leader is in sync");
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(wide.topicId()))).allTopicIds().get().get(wide.topicId());
        same(byId.name(), "wide", "a topic by its id");
        refused(admin.describeTopics(List.of("absent")).allTopicNames(), UnknownTopicOrPartitionException.class, "an absent topic");
        admin.createPartitions(Map.of("wide", NewPartitions.increaseTo(5))).all().get();
        same(admin.describeTopics(List.of("wide")).allTopicNames().get().get("wide").partitions().size(), 5, "more partitions");
        refused(admin.createPartitions(Map.of("wide", NewPartitions.increaseTo(2))).all(), InvalidPartitionsException.class, "fewer");
    }

    static void settings(Admin admin) throws Exception {
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, "wide");
        same(setting(admin, topic, "retention.ms"), "86400000 DYNAMIC_TOPIC_CONFIG", "set with the topic");
        same(setting(admin, topic, "max.message.bytes"), "1048588 DEFAULT_CONFIG", "Kafka's default");
        alter(admin, topic, "max.message.bytes", "2000000", AlterConfigOp.OpType.SET);
        same(setting(admin, topic, "max.message.bytes"), "2000000 DYNAMIC_TOPIC_CONFIG", "after a change");
        alter(admin, topic, "max.message.bytes", "", AlterConfigOp.OpType.DELETE);
        same(setting(admin, topic, "max.message.bytes"), "1048588 DEFAULT_CONFIG", "after its end");
        String id = String.valueOf(admin.describeCluster().controller().get().id());
        var broker = new ConfigResource(ConfigResource.Type.BROKER, id);
        same(setting(admin, broker, "auto.create.topics.enable"), "true DEFAULT_CONFIG", "a broker's setting");
        same(admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new org.apache.kafka.clients.admin.ListConfigResourcesOptions())
            .all().get().contains(topic), true, "settings are listed");
    }

    static void records(Admin admin, String bootstrap) throws Exception {
        var partition = new TopicPartition("wide", 1);
        Map<String, Object> p = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        try (var producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < 100; i++) {
                long timestamp = System.currentTimeMillis() - 60_000 + (i == 40 ? 1000 : i);
                byte[] value = ("value " + i).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>("wide", 1, timestamp, null, value));
            }
            producer.flush();
            var state = admin.describeProducers(List.of(partition)).all().get().get(partition).activeProducers();
            same(state.size(), 1, "producers");
            same(state.get(0).lastSequence(), 99, "a producer's last sequence");
        }
        same(offset(admin, partition, OffsetSpec.earliest()), 0L, "the start");
        same(offset(admin, partition, OffsetSpec.latest()), 100L, "the end");
        same(offset(admin, partition, OffsetSpec.maxTimestamp()), 40L, "the highest timestamp");
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(30))).all().get();
        same(offset(admin, partition, OffsetSpec.earliest()), 30L, "the start after a deletion");
        refused(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(101))).all(), OffsetOutOfRangeException.class, "beyond the end");
    }

    static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    static void cluster(Admin admin) throws Exception {
        var cluster = admin.describeCluster();
        same(cluster.nodes().get().size(), 1, "brokers");
        same(cluster.clusterId().get().isEmpty(), false, "no cluster id");
        var asked = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        same(asked.authorizedOperations().get().size(), 7, "what may be done with the cluster");
        var topic = admin.describeTopics(List.of("wide"), new DescribeTopicsOptions().includeAuthorizedOperations(true));
        same(topic.allTopicNames().get().get("wide").authorizedOperations().size(), 8, "what may be done with a topic");
        int id = cluster.controller().get().id();
        var folder = admin.describeLogDirs(List.of(id)).allDescriptions().get().get(id).values().iterator().next();
        same(folder.replicaInfos().containsKey(new TopicPartition("wide", 1)), true, "a partition on disk");
        same(folder.totalBytes().isPresent() && folder.usableBytes().isPresent(), true, "the disk's size");
        same(admin.listPartitionReassignments().reassignments().get(), Map.of(), "reassignments");
        admin.deleteTopics(List.of("plain")).all().get();
        refused(admin.deleteTopics(List.of("plain")).all(), UnknownTopicOrPartitionException.class, "a topic twice");
        same(admin.listTopics().names().get(), Set.of("wide"), "topics that are left");
    }

    public static void main(String[] a) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", a[0]))) {
            topics(admin);
            settings(admin);
            records(admin, a[0]);
            cluster(admin);
        }
        System.out.println("all answered");
    }
}
