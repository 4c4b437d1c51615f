//! The groups of a run: how many, what they speak, how their members behave, and the broker's settings for them, small enough that sessions end, offsets
//! expire and the offsets topic is compacted many times within a second or two.

use floe_engine::config::Values;

use super::{Speech, Style};
use crate::oracle::groups::GroupIx;
use crate::rng::Rng;

/// Long enough after everybody has stopped that nothing is due any more, except the sessions that outlast every run.
pub const QUIET_NS: u64 = 20_000_000_000;
/// The shortest session, of the majority of members.
const SESSION_MS: (u64, u64) = (200, 3_000);
/// Such a session never ends in a run.
const LONG_SESSION_MS: u64 = 1_800_000;

/// The groups of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All of them.
    pub groups: Vec<(GroupIx, Speech)>,
    /// Their members.
    pub members: Vec<Style>,
    /// The broker's settings.
    pub settings: Values,
    /// Of members of consumer groups.
    session_ms: u64,
}

impl Plan {
    /// Draws them.
    pub fn draw(rng: &mut Rng) -> Plan {
        let session_ms = if rng.percent(30) { LONG_SESSION_MS } else { rng.range(SESSION_MS.0, SESSION_MS.1) };
        let mut plan =
            Plan { groups: Vec::new(), members: Vec::new(), settings: settings(rng, session_ms), session_ms };
        for n in 0..rng.range(1, 4) {
            let group = GroupIx(n as usize);
            let speech = *rng.pick(&[
                Speech::Eager,
                Speech::Cooperative,
                Speech::Cooperative,
                Speech::Consumer,
                Speech::Consumer,
                Speech::Consumer,
                Speech::Standalone,
            ]);
            plan.groups.push((group, speech));
            let expiring_percent = if rng.percent(20) { 15 } else { 0 };
            let topics_max = rng.range(1, 3);
            for i in 0..rng.range(1, if speech == Speech::Standalone { 2 } else { 5 }) {
                let is_static = speech != Speech::Standalone && rng.percent(25);
                plan.members.push(Style {
                    instance: is_static.then(|| format!("instance-{i}")),
                    session_ms: plan.session_of(rng, speech),
                    rebalance_ms: rng.range(50, 1_500),
                    topics_max,
                    steps: rng.log_range(5, 150) as u32,
                    pause_ns: rng.log_range(1_000_000, 100_000_000),
                    hang_up_percent: if rng.percent(20) { 2 } else { 0 },
                    expiring_percent,
                    ..Style::calm(group, speech)
                });
            }
        }
        // What deletes groups takes the judge's certainty about their generations with it: not in every run. One of standalone consumers can be deleted at
        // any time, another the more often the fewer are in it.
        if rng.percent(40) {
            let members = |group: GroupIx| plan.members.iter().filter(|style| style.group == group).count();
            let ease = |(group, speech): &&(GroupIx, Speech)| (*speech != Speech::Standalone, members(*group));
            let easiest = plan.groups.iter().min_by_key(ease).map(|(group, _)| *group);
            let percent = rng.range(20, 80) as u32;
            let its = plan.members.iter_mut().filter(|style| Some(style.group) == easiest);
            its.for_each(|style| style.deletes_percent = percent);
        }
        plan
    }

    /// Draws groups of which each has members of both protocols.
    pub fn draw_mixed(rng: &mut Rng) -> Plan {
        let session_ms = if rng.percent(30) { LONG_SESSION_MS } else { rng.range(SESSION_MS.0, SESSION_MS.1) };
        let mut plan =
            Plan { groups: Vec::new(), members: Vec::new(), settings: settings(rng, session_ms), session_ms };
        let policy = *rng.pick(&["bidirectional", "bidirectional", "bidirectional", "upgrade"]);
        plan.settings.insert("group.consumer.migration.policy".into(), policy.into());
        for n in 0..rng.range(1, 2) {
            let group = GroupIx(n as usize);
            plan.groups.push((group, Speech::Mixed));
            // Those of the classic protocol have an assignor in common, as they must.
            let classic = *rng.pick(&[Speech::Eager, Speech::Cooperative, Speech::Cooperative]);
            let topics_max = rng.range(1, 3);
            let deletes_percent = if rng.percent(15) { rng.range(20, 80) as u32 } else { 0 };
            // The fewer and the more restless those are that speak one of the protocols, the more often the group goes from one to the other.
            let (classics, consumers) = (rng.range(1, 3), *rng.pick(&[1, 1, 2, 3]));
            let leaves_percent = *rng.pick(&[0, 5, 15, 15]);
            let away_ns = rng.log_range(1_000_000, 300_000_000);
            for i in 0..classics + consumers {
                let speech = if i < classics { classic } else { Speech::Consumer };
                plan.members.push(Style {
                    instance: rng.percent(25).then(|| format!("instance-{i}")),
                    session_ms: plan.session_of(rng, speech),
                    rebalance_ms: rng.range(50, 1_500),
                    topics_max,
                    steps: rng.log_range(60, 600) as u32,
                    pause_ns: rng.log_range(1_000_000, 30_000_000),
                    hang_up_percent: if rng.percent(20) { 2 } else { 0 },
                    deletes_percent,
                    is_mixed: true,
                    leaves_percent,
                    away_ns,
                    ..Style::calm(group, speech)
                });
            }
        }
        plan
    }

    fn session_of(&self, rng: &mut Rng, speech: Speech) -> u64 {
        match speech {
            Speech::Consumer => self.session_ms,
            _ if rng.percent(20) => LONG_SESSION_MS,
            _ => rng.range(SESSION_MS.0, SESSION_MS.1),
        }
    }

    /// New groups of one member each that must succeed: each reads back what it has committed.
    pub fn probes(&mut self) -> Vec<Style> {
        let speeches = [Speech::Cooperative, Speech::Consumer];
        let probe = |(speech, group): (Speech, GroupIx)| {
            let calm = Style::calm(group, speech);
            let session_ms = if speech == Speech::Consumer { self.session_ms } else { calm.session_ms };
            Style { session_ms, must_succeed: true, ..calm }
        };
        let first = self.groups.len();
        let probes = speeches.into_iter().zip((first..).map(GroupIx)).map(probe).collect();
        self.groups.extend(speeches.into_iter().zip((first..).map(GroupIx)).map(|(speech, group)| (group, speech)));
        probes
    }
}

/// The broker's settings for groups and for compaction.
fn settings(rng: &mut Rng, session_ms: u64) -> Values {
    let mut values = Values::new();
    let mut set = |name: &str, value: u64| values.insert(name.into(), value.to_string());
    set("group.initial.rebalance.delay.ms", *rng.pick(&[0, 0, 30, 300]));
    set("group.min.session.timeout.ms", 1);
    set("group.consumer.session.timeout.ms", session_ms);
    set("group.consumer.heartbeat.interval.ms", (session_ms / 3).min(1_000));
    set("offsets.topic.num.partitions", rng.range(1, 5));
    set("offsets.topic.segment.bytes", rng.log_range(4_096, 65_536));
    set("offsets.topic.compression.codec", *rng.pick(&[0, 0, 1, 2, 3, 4]));
    set("offsets.retention.check.interval.ms", rng.log_range(20, 1_000));
    set("log.cleaner.backoff.ms", rng.log_range(10, 1_000));
    set("log.cleaner.dedupe.buffer.size", rng.log_range(2_000, 1 << 20));
    set("log.cleaner.delete.retention.ms", *rng.pick(&[0, 300, 86_400_000]));
    if rng.percent(60) {
        set("log.roll.ms", rng.range(50, 2_000));
    }
    let ratio = *rng.pick(&["0.0", "0.0", "0.3"]);
    values.insert("log.cleaner.min.cleanable.ratio".into(), ratio.into());
    values
}
