//! The auditor: reads every partition from its start to its end, so that everything the broker is committed to is compared with what it has.

use std::collections::BTreeSet;

use floe_wire::messages::fetch::FetchResponse;

use super::api::ApiKey;
use super::fetch::{self, Limits, Taken, Want};
use super::list_offsets::{self, Answer, EARLIEST, LATEST};
use super::{Actor, Cx, Request, decode};
use crate::oracle::{Expectation, Pass, Tp};

/// Attempts at one partition that refuses before it is left alone (refusing may be excused; an answer that never comes is not).
const ATTEMPTS_MAX: u32 = 20;

/// The auditor.
pub struct Sweep {
    /// `None`: not begun.
    queue: Option<Vec<Tp>>,
    current: Option<Current>,
    in_flight: bool,
    not_before_ns: u64,
    /// Partitions read to their end.
    pub read: u32,
    /// Partitions that refused, with an excuse.
    pub refused: u32,
}

struct Current {
    tp: Tp,
    attempts: u32,
    stage: Stage,
    expected: Expectation,
    /// Of a compacted partition: this reading, when it began, and whether it has gone on to the end that there is by now.
    pass: Option<(Pass, u64, bool)>,
}

#[derive(Clone, Copy)]
enum Stage {
    Start,
    End { start: i64 },
    Read { at: i64, end: i64 },
}

impl Sweep {
    /// An auditor of every partition that is there when it begins.
    pub fn new() -> Sweep {
        Sweep { queue: None, current: None, in_flight: false, not_before_ns: 0, read: 0, refused: 0 }
    }

    fn again(&mut self, cx: &mut Cx<'_>, refused: bool) {
        let Some(current) = self.current.as_mut() else { return };
        current.attempts += 1;
        self.not_before_ns = cx.world.now_ns() + 10_000_000;
        if refused && current.attempts > ATTEMPTS_MAX {
            self.refused += 1;
            self.current = None;
        }
    }
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep::new()
    }
}

impl Actor for Sweep {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.in_flight || self.is_done() {
            return None;
        }
        let now_ns = cx.world.now_ns();
        if now_ns < self.not_before_ns {
            return Some(self.not_before_ns - now_ns);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        if self.queue.is_none() {
            self.queue = Some(cx.topics.live_partitions());
        }
        if self.current.as_ref().is_some_and(|c| !cx.topics.is_live(c.tp.topic)) {
            self.current = None;
        }
        if self.current.is_none() {
            let tp = self.queue.as_mut()?.pop()?;
            let expected = cx.oracle.expect(tp);
            self.current = Some(Current { tp, attempts: 0, stage: Stage::Start, expected, pass: None });
        }
        let current = self.current.as_mut()?;
        let tp = current.tp;
        if !cx.topics.is_live(tp.topic) {
            return Some(0);
        }
        current.expected = cx.oracle.expect(tp);
        let (api, version, body) = match current.stage {
            Stage::Start => {
                let (expected, shown) = (current.expected, BTreeSet::new());
                let pass = Pass { expected, start: 0, end: 0, shown, took_ms: 0 };
                current.pass = cx.oracle.is_compacted(tp).then(|| (pass, cx.world.now_ns(), false));
                list_offsets::request(cx, tp, EARLIEST)
            }
            Stage::End { .. } => list_offsets::request(cx, tp, LATEST),
            Stage::Read { at, .. } => {
                let named = cx.topics.get(tp.topic).id.is_zero();
                let version = cx.rng.range(4, if named { 12 } else { 18 }) as i16;
                let bytes = cx.rng.log_range(1, 1 << 20) as i32;
                let limits = Limits {
                    max_wait_ms: 0,
                    min_bytes: 1,
                    max_bytes: bytes,
                    partition_max_bytes: bytes,
                    read_committed: false,
                };
                let want = Want { tp, offset: at, expected: current.expected };
                fetch::request(cx, version, &[want], &limits, (0, -1))
            }
        };
        self.in_flight = cx.send(api, version, 0, body);
        if self.in_flight { None } else { Some(5_000_000) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.in_flight = false;
        let Some(current) = self.current.as_mut() else { return };
        let (tp, version, expected) = (current.tp, request.version, current.expected);
        match current.stage {
            Stage::Start | Stage::End { .. } => {
                let which = if matches!(current.stage, Stage::Start) { EARLIEST } else { LATEST };
                match list_offsets::judge(cx, tp, which, &expected, version, body) {
                    Answer::Offset(offset) => {
                        current.stage = match current.stage {
                            Stage::Start => Stage::End { start: offset },
                            Stage::End { start } if start < offset => {
                                if let Some((pass, _, false)) = &mut current.pass {
                                    pass.start = start;
                                }
                                Stage::Read { at: start, end: offset }
                            }
                            _ => {
                                if let Some((pass, began_ns, true)) = &mut current.pass {
                                    pass.took_ms = (cx.world.now_ns() - *began_ns) as i64 / 1_000_000;
                                    cx.oracle.passed(tp, pass);
                                }
                                self.read += 1;
                                self.current = None;
                                return;
                            }
                        };
                    }
                    Answer::Again => self.again(cx, false),
                    Answer::Refused => self.again(cx, true),
                    Answer::Over => self.current = None,
                }
            }
            Stage::Read { at, end } => {
                debug_assert_eq!(request.api, ApiKey::Fetch);
                let decoded = decode::<FetchResponse>(cx, "Fetch", body, version);
                let data = decoded.as_ref().and_then(|r| r.responses.first()).and_then(|t| t.partitions.first());
                let Some(data) = data else {
                    cx.oracle.fail(format!("{tp}: Fetch from {at} was answered without the partition"));
                    self.current = None;
                    return;
                };
                let taken = fetch::judge(cx, &Want { tp, offset: at, expected }, data);
                if let Some((pass, ..)) = &mut current.pass {
                    pass.shown.extend(cx.oracle.shown_last.drain(..));
                }
                match taken {
                    Taken::Next(next) if next >= end || (next == at && cx.oracle.may_end_in_a_gap(tp)) => {
                        if let Some((pass, began_ns, again)) = &mut current.pass {
                            if !*again {
                                // What explains that something is missing may stand behind the end that was asked for.
                                (*again, pass.end) = (true, end);
                                current.stage = Stage::End { start: next.max(end) };
                                return;
                            }
                            pass.took_ms = (cx.world.now_ns() - *began_ns) as i64 / 1_000_000;
                            let pass = pass.clone();
                            cx.oracle.passed(tp, &pass);
                        }
                        self.read += 1;
                        self.current = None;
                    }
                    Taken::Next(next) if next > at => current.stage = Stage::Read { at: next, end },
                    Taken::Next(_) if cx.oracle.may_have_lost(tp) => current.stage = Stage::Start,
                    Taken::Next(_) => {
                        cx.oracle
                            .fail(format!("{tp}: nothing fetched from {at}, although {end} is the high watermark"));
                        self.current = None;
                    }
                    // Retention or DeleteRecords went past: from the start once more.
                    Taken::OutOfRange => {
                        current.stage = Stage::Start;
                        self.again(cx, false);
                    }
                    Taken::Again => self.again(cx, false),
                    Taken::Refused => self.again(cx, true),
                    Taken::Gone => self.current = None,
                }
            }
        }
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.in_flight = false;
        if let Some(current) = self.current.as_mut() {
            current.stage = Stage::Start;
        }
    }

    fn is_done(&self) -> bool {
        self.queue.as_ref().is_some_and(Vec::is_empty) && self.current.is_none() && !self.in_flight
    }

    fn describe(&self) -> String {
        let left = self.queue.as_ref().map(Vec::len);
        format!("audit, {} partitions read, {} refused, {left:?} to go", self.read, self.refused)
    }
}
