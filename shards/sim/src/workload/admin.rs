//! The operator: does one administrative operation after the other until each is answered for certain, also across crashes.

use bytes::Bytes;

use super::api::ApiKey;
use super::{Actor, Cx, Request};
use super::{alter_configs, create_partitions, create_topic, delete_records, delete_topic, list_offsets, metadata};

/// One administrative operation.
pub trait Op {
    /// The request, made anew for each attempt. `None`: there is nothing to do (any more).
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)>;
    /// Judges the answer.
    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step;
    /// For reports.
    fn describe(&self) -> String;
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The operation is over.
    Done,
    /// Ask again after so many nanoseconds.
    Again(u64),
}

/// Which operations an operator draws from, with weights.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// CreateTopics.
    pub create: u32,
    /// DeleteTopics.
    pub delete: u32,
    /// CreatePartitions.
    pub grow: u32,
    /// DeleteRecords.
    pub trim: u32,
    /// IncrementalAlterConfigs.
    pub configure: u32,
    /// ListOffsets.
    pub lookup: u32,
    /// Metadata.
    pub look: u32,
}

/// The operator.
pub struct Operator {
    mix: Mix,
    /// Topics to create before anything else.
    first: u32,
    left: u32,
    pause_ns: u64,
    current: Option<Box<dyn Op>>,
    in_flight: bool,
    not_before_ns: u64,
}

impl Operator {
    /// Creates `first` topics, then does `left` operations, with pauses of up to `pause_ns`.
    pub fn new(mix: Mix, first: u32, left: u32, pause_ns: u64) -> Operator {
        Operator { mix, first, left, pause_ns, current: None, in_flight: false, not_before_ns: 0 }
    }

    fn draw(&mut self, cx: &mut Cx<'_>) -> Option<Box<dyn Op>> {
        if self.first > 0 {
            self.first -= 1;
            return Some(Box::new(create_topic::CreateTopic::draw(cx)));
        }
        if self.left == 0 || cx.winding_down {
            self.left = 0;
            return None;
        }
        self.left -= 1;
        let mix = self.mix;
        let weights = [mix.create, mix.delete, mix.grow, mix.trim, mix.configure, mix.lookup, mix.look];
        let mut draw = cx.rng.below(weights.iter().map(|w| u64::from(*w)).sum()) as u32;
        let which = weights.iter().position(|&w| {
            let hit = draw < w;
            draw = draw.saturating_sub(w);
            hit
        });
        Some(match which {
            Some(0) => Box::new(create_topic::CreateTopic::draw(cx)),
            Some(1) => Box::new(delete_topic::DeleteTopic::draw(cx)),
            Some(2) => Box::new(create_partitions::CreatePartitions::draw(cx)),
            Some(3) => Box::new(delete_records::DeleteRecords::draw(cx)),
            Some(4) => Box::new(alter_configs::AlterConfigs::draw(cx)),
            Some(5) => Box::new(list_offsets::ListOffsets::draw(cx)),
            _ => Box::new(metadata::Look::draw(cx)),
        })
    }
}

impl Actor for Operator {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.in_flight {
            return None;
        }
        let now = cx.world.now_ns();
        if now < self.not_before_ns {
            return Some(self.not_before_ns - now);
        }
        if self.current.is_none() {
            self.current = self.draw(cx);
        }
        let op = self.current.as_mut()?;
        // A connection first: the request is made for the moment at which it goes out.
        if cx.connection().is_none() {
            return Some(10_000_000);
        }
        match op.request(cx) {
            Some((api, version, body)) => {
                self.in_flight = cx.send(api, version, 0, body);
                if self.in_flight { None } else { Some(10_000_000) }
            }
            None => {
                self.current = None;
                Some(cx.rng.below(self.pause_ns + 1))
            }
        }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.in_flight = false;
        let Some(op) = self.current.as_mut() else { return };
        let wait = match op.answer(cx, request.version, body) {
            Step::Done => {
                self.current = None;
                cx.rng.below(self.pause_ns + 1)
            }
            Step::Again(ns) => ns,
        };
        self.not_before_ns = cx.world.now_ns() + wait;
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.in_flight = false;
    }

    fn is_done(&self) -> bool {
        self.first == 0 && self.left == 0 && self.current.is_none()
    }

    fn describe(&self) -> String {
        match &self.current {
            Some(op) => op.describe(),
            None => format!("operator, {} operations to go", self.left),
        }
    }
}
