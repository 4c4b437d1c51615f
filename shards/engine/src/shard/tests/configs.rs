//! Settings seen and changed over the wire.

use floe_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as Whole, AlterConfigsResponse, AlterableConfig as WholeConfig,
};
use floe_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult,
};
use floe_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Kind and name of a resource; name, operation and value of each setting.
type Change<'a> = (i8, &'static str, &'a [(&'static str, i8, Option<&'static str>)]);

impl Node {
    fn describe(
        &mut self,
        kind: i8,
        name: &'static str,
        keys: Option<Vec<&'static str>>,
    ) -> DescribeConfigsResult<'static> {
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.into_iter().map(Into::into).collect()),
        };
        let request =
            DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: true };
        self.send(32, 4, &request);
        DescribeConfigsResponse::decode_all(self.reply(32, 4), 4).unwrap().results.remove(0)
    }

    /// Value and source of one setting.
    fn config(&mut self, kind: i8, name: &'static str, key: &'static str) -> (String, i8) {
        let mut all = self.describe(kind, name, Some(vec![key])).configs;
        let one = all.remove(0);
        assert!(all.is_empty() && one.name == key);
        (one.value.unwrap().into_owned(), one.config_source)
    }

    pub(super) fn incremental(&mut self, resources: &[Change<'_>]) -> Vec<(i16, String)> {
        self.incremental_as(resources, false)
    }

    fn incremental_as(&mut self, resources: &[Change<'_>], validate_only: bool) -> Vec<(i16, String)> {
        let resources = resources.iter().map(|(kind, name, configs)| AlterConfigsResource {
            resource_type: *kind,
            resource_name: (*name).into(),
            configs: configs
                .iter()
                .map(|(name, operation, value)| AlterableConfig {
                    name: (*name).into(),
                    config_operation: *operation,
                    value: value.map(Into::into),
                })
                .collect(),
        });
        self.send(44, 1, &IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only });
        let response = IncrementalAlterConfigsResponse::decode_all(self.reply(44, 1), 1).unwrap();
        let said = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().into_owned();
        response.responses.into_iter().map(|r| (r.error_code, said(r.error_message))).collect()
    }

    fn replace(&mut self, kind: i8, name: &'static str, configs: &[(&'static str, Option<&'static str>)]) -> i16 {
        let configs =
            configs.iter().map(|(name, value)| WholeConfig { name: (*name).into(), value: value.map(Into::into) });
        let resource = Whole { resource_type: kind, resource_name: name.into(), configs: configs.collect() };
        self.send(33, 2, &AlterConfigsRequest { resources: vec![resource], validate_only: false });
        AlterConfigsResponse::decode_all(self.reply(33, 2), 2).unwrap().responses[0].error_code
    }
}

fn named<'a>(all: &'a [DescribeConfigsResourceResult<'a>], name: &str) -> &'a DescribeConfigsResourceResult<'a> {
    all.iter().find(|config| config.name == name).unwrap()
}

#[test]
fn settings_are_shown_with_where_they_come_from() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    let all = node.describe(TOPIC, "t", None);
    assert_eq!(all.error_code, codes::NONE);
    let retention = named(&all.configs, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), 5));
    assert_eq!((retention.config_type, retention.read_only, retention.is_sensitive), (5, false, false));
    assert!(retention.documentation.as_ref().unwrap().contains("partition"));
    assert_eq!(named(&all.configs, "cleanup.policy").config_type, 7);
    let broker = node.describe(BROKER, "1", None);
    assert!(named(&broker.configs, "journal.bytes").read_only);
    assert!(!named(&broker.configs, "log.retention.ms").read_only);
    assert_eq!(named(&broker.configs, "advertised.listeners").value.as_deref(), Some("PLAINTEXT://here:9092"));
    assert_eq!(node.describe(BROKER, "1", Some(vec![])).configs.len(), broker.configs.len(), "no names are all");
    for (kind, name, code) in [
        (TOPIC, "none", codes::UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a/b", codes::INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", codes::INVALID_REQUEST),
        (BROKER, "one", codes::INVALID_REQUEST),
        (99, "1", codes::INVALID_REQUEST),
    ] {
        let answer = node.describe(kind, name, None);
        assert_eq!((answer.error_code, answer.configs.len()), (code, 0), "{kind} {name}");
        assert!(answer.error_message.is_some_and(|message| !message.is_empty()));
    }
}

#[test]
fn changed_settings_count_at_once_and_after_a_restart() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    let ok = (codes::NONE, String::new());
    let done = node.incremental(&[
        (TOPIC, "t", &[("max.message.bytes", 0, Some("20")), ("segment.ms", 0, Some(" 7 "))]),
        (BROKER, "1", &[("log.retention.ms", 0, Some("8"))]),
        (BROKER, "", &[("log.retention.ms", 0, Some("9")), ("fetch.max.bytes", 0, Some("4096"))]),
    ]);
    assert_eq!(done, vec![ok.clone(); 3]);
    for again in 0..2 {
        assert_eq!(node.config(TOPIC, "t", "max.message.bytes"), ("20".into(), 1), "start {again}");
        assert_eq!(node.config(TOPIC, "t", "segment.ms"), ("7".into(), 1));
        assert_eq!(node.config(TOPIC, "t", "retention.ms"), ("8".into(), 2));
        assert_eq!(node.config(BROKER, "1", "fetch.max.bytes"), ("4096".into(), 3));
        let whole = node.describe(BROKER, "1", Some(vec!["log.retention.ms"]));
        let synonyms = whole.configs[0].synonyms.iter().map(|s| (s.value.as_deref().unwrap(), s.source));
        assert_eq!(synonyms.collect::<Vec<_>>(), [("8", 2), ("9", 3), ("604800000", 5)]);
        assert_eq!(node.describe(BROKER, "", None).configs.len(), 2, "what was set for all brokers");
        for partition in 0..2 {
            node.produce("t", partition, &batch(), 1);
            assert_eq!(node.produced().0, codes::MESSAGE_TOO_LARGE, "on every shard");
        }
        node = Node::start(2, node.files);
    }
    assert_eq!(node.incremental(&[(TOPIC, "t", &[("max.message.bytes", 1, None)])]), [ok]);
    node.produce("t", 0, &batch(), 1);
    assert_eq!(node.produced(), (codes::NONE, 0));
    assert_eq!(node.replace(TOPIC, "t", &[("retention.ms", Some("3"))]), codes::NONE);
    assert_eq!(node.config(TOPIC, "t", "retention.ms"), ("3".into(), 1));
    assert_eq!(node.config(TOPIC, "t", "segment.ms"), ("604800000".into(), 5), "what is not named is gone");
}

#[test]
fn settings_that_cannot_be_change_nothing() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    let one = |name, operation, value| vec![(name, operation, value)];
    for (kind, name, configs, code, message) in [
        (
            TOPIC,
            "t",
            one("retention.ms", 0, Some("soon")),
            codes::INVALID_CONFIG,
            "Invalid value soon for configuration",
        ),
        (TOPIC, "t", one("no.such", 0, Some("1")), codes::INVALID_CONFIG, "Unknown topic config name: no.such"),
        (TOPIC, "t", one("retention.ms", 2, Some("1")), codes::INVALID_CONFIG, "Can't APPEND to key retention.ms"),
        (TOPIC, "t", one("retention.ms", 0, None), codes::INVALID_REQUEST, "Null value not supported"),
        (TOPIC, "t", one("retention.ms", 9, Some("1")), codes::INVALID_REQUEST, "Unknown operation type 9"),
        (
            TOPIC,
            "t",
            [one("retention.ms", 1, None), one("retention.ms", 1, None)].concat(),
            codes::INVALID_REQUEST,
            "duplicate",
        ),
        (TOPIC, "u", one("retention.ms", 1, None), codes::UNKNOWN_TOPIC_OR_PARTITION, "The topic 'u' does not exist."),
        (
            BROKER,
            "1",
            one("journal.bytes", 0, Some("1")),
            codes::INVALID_REQUEST,
            "Cannot update these configs dynamically",
        ),
        (BROKER, "7", one("fetch.max.bytes", 1, None), codes::INVALID_REQUEST, "Unexpected broker id"),
        (8, "1", one("x", 1, None), codes::INVALID_REQUEST, "Unexpected resource type 8"),
    ] {
        for validate_only in [true, false] {
            let done = node.incremental_as(&[(kind, name, &configs)], validate_only);
            assert!(done[0].0 == code && done[0].1.contains(message), "{name} {configs:?}: {done:?}");
        }
    }
    let fine: &[_] = &[("retention.ms", 0, Some("1"))];
    let twice = node.incremental(&[(TOPIC, "t", fine), (TOPIC, "t", fine)]);
    assert!(twice.iter().all(|(code, message)| *code == codes::INVALID_REQUEST && message.contains("at most once")));
    let before = node.files["metadata/log"].len();
    assert_eq!(node.incremental_as(&[(TOPIC, "t", fine)], true)[0].0, codes::NONE);
    assert_eq!(node.replace(TOPIC, "t", &[("retention.ms", None)]), codes::INVALID_REQUEST);
    assert_eq!(node.files["metadata/log"].len(), before, "nothing was written");
    let mixed = node.incremental(&[(TOPIC, "none", fine), (TOPIC, "t", fine)]);
    assert_eq!([mixed[0].0, mixed[1].0], [codes::UNKNOWN_TOPIC_OR_PARTITION, codes::NONE], "each resource for itself");
    assert_eq!(node.config(TOPIC, "t", "retention.ms"), ("1".into(), 1));
}
