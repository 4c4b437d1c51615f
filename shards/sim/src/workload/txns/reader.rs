//! A reader of committed records: it polls all partitions, with the filter that Kafka's consumers have (aborted transactions by the list in the answer, their
//! end by their marker), and tells the book what is left. One that reads to the end must come to it: nothing may be held back by an open transaction.

use std::collections::{BTreeMap, BTreeSet};

use floe_wire::batch::{self, BatchHeader};
use floe_wire::errors::ErrorCode;
use floe_wire::messages::fetch::{FetchResponse, PartitionData};
use floe_wire::primitives::Records;

use crate::content::{self, RecordId};
use crate::oracle::{TopicIx, Tp};
use crate::workload::fetch::{self, Limits, Taken, Want};
use crate::workload::{Actor, Cx, Request, decode, error_code};

/// Polls of a partition that bring nothing although there is something, or are refused, before a reader to the end goes on without it.
const ATTEMPTS_MAX: u32 = 50;

/// How a reader reads.
#[derive(Clone, Debug)]
pub struct Style {
    /// The version of Fetch.
    pub version: i16,
    /// Limits.
    pub limits: Limits,
    /// Polls; `None`: until everything is read that there is, which must be all.
    pub polls: Option<u32>,
    /// Longest pause between two polls in nanoseconds.
    pub pause_ns: u64,
    /// Percent of polls before which it goes away and comes back.
    pub hang_up_percent: u32,
}

/// A reader.
pub struct Reader {
    style: Style,
    /// Its number in the book.
    number: Option<u32>,
    positions: BTreeMap<Tp, i64>,
    /// Partitions that it has not read to their end.
    open: Option<BTreeSet<Tp>>,
    attempts: BTreeMap<Tp, u32>,
    asked: Vec<Want>,
    in_flight: bool,
    not_before_ns: u64,
    shown: u64,
    done: bool,
}

impl Reader {
    /// One that begins at the start of everything.
    pub fn new(style: Style) -> Reader {
        Reader {
            style,
            number: None,
            positions: BTreeMap::new(),
            open: None,
            attempts: BTreeMap::new(),
            asked: Vec::new(),
            in_flight: false,
            not_before_ns: 0,
            shown: 0,
            done: false,
        }
    }

    /// The partitions of the next poll, all of one topic.
    fn choose(&mut self, cx: &mut Cx<'_>) -> Vec<Tp> {
        let known = |tp: &Tp| !cx.topics.get(tp.topic).id.is_zero();
        let live: BTreeSet<Tp> = cx.topics.live_partitions().into_iter().filter(known).collect();
        let from = match self.style.polls {
            Some(_) => live,
            None => self.open.get_or_insert(live).clone(),
        };
        let topics: BTreeSet<TopicIx> = from.iter().map(|tp| tp.topic).collect();
        if topics.is_empty() {
            return Vec::new();
        }
        let topics: Vec<TopicIx> = topics.into_iter().collect();
        let topic = *cx.rng.pick(&topics);
        from.into_iter().filter(|tp| tp.topic == topic).collect()
    }

    /// A partition is read to its end, or cannot be.
    fn close(&mut self, tp: Tp) {
        if let Some(open) = &mut self.open {
            open.remove(&tp);
        }
    }

    /// Nothing came of a partition, once more: whether that was too often.
    fn attempt(&mut self, tp: Tp) -> bool {
        let attempts = self.attempts.entry(tp).or_default();
        *attempts += 1;
        *attempts > ATTEMPTS_MAX
    }

    /// One partition's part of an answer. `nothing`: no partition's brings anything, so that none is without its turn.
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        want: &Want,
        data: &PartitionData<'_>,
        nothing: bool,
    ) -> Vec<(Tp, i64, RecordId)> {
        let tp = want.tp;
        match fetch::judge(cx, want, data) {
            Taken::Next(next) => {
                let shown = match committed_records(tp, want.offset, data) {
                    Ok(shown) => shown,
                    Err(text) => {
                        cx.oracle.fail(format!("{tp}: Fetch of committed records from {}: {text}", want.offset));
                        Vec::new()
                    }
                };
                self.positions.insert(tp, next);
                if next > want.offset {
                    self.attempts.remove(&tp);
                } else if nothing && self.style.polls.is_none() && next < data.high_watermark && self.attempt(tp) {
                    let (stable, high) = (data.last_stable_offset, data.high_watermark);
                    if cx.oracle.txns.abandoned == 0 && !cx.refusals_excused {
                        let text =
                            format!("{tp}: the last stable offset stays at {stable}, the high watermark is {high}");
                        cx.oracle.fail(text);
                    }
                    self.close(tp);
                }
                if next >= data.high_watermark {
                    self.close(tp);
                }
                shown
            }
            Taken::OutOfRange => {
                if let Some(number) = self.number {
                    cx.oracle.txns.sought(number, tp);
                }
                self.positions.insert(tp, 0);
                if self.attempt(tp) {
                    self.close(tp);
                }
                Vec::new()
            }
            Taken::Again | Taken::Refused | Taken::Gone => {
                self.not_before_ns += 10_000_000;
                if self.attempt(tp) {
                    self.close(tp);
                }
                Vec::new()
            }
        }
    }
}

/// The records that a consumer hands out, but for those of no transaction.
pub(super) fn committed_records(
    tp: Tp,
    from: i64,
    data: &PartitionData<'_>,
) -> Result<Vec<(Tp, i64, RecordId)>, String> {
    let Records::Borrowed(mut rest) = data.records else { return Ok(Vec::new()) };
    let mut aborted: Vec<(i64, i64)> =
        data.aborted_transactions.iter().flatten().map(|one| (one.first_offset, one.producer_id)).collect();
    aborted.sort_unstable();
    let mut aborted = aborted.into_iter().peekable();
    let mut void = BTreeSet::new();
    let (mut shown, mut scratch) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let header = BatchHeader::decode(rest).map_err(|error| error.to_string())?;
        let (this, after) = rest.split_at(header.total_bytes().min(rest.len()));
        rest = after;
        let last = header.last_offset();
        if last >= data.last_stable_offset {
            return Err(format!("offset {last} is shown, the last stable offset is {}", data.last_stable_offset));
        }
        while let Some((_, producer)) = aborted.next_if(|(first, _)| *first <= last) {
            void.insert(producer);
        }
        let records = batch::records(this, &mut scratch).map_err(|error| error.to_string())?;
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            if header.is_control() {
                // Version and type: 0 is an abort.
                if record.key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])) {
                    void.remove(&header.producer_id);
                }
                continue;
            }
            if !header.is_transactional() || void.contains(&header.producer_id) || record.offset < from {
                continue;
            }
            let headers: Vec<(String, Option<Vec<u8>>)> =
                record.headers.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec))).collect();
            let id = content::identify(record.key, record.value, &headers);
            shown.push((tp, record.offset, id.ok_or("bytes that nobody sent")?));
        }
    }
    Ok(shown)
}

impl Actor for Reader {
    fn act(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.in_flight || self.done {
            return None;
        }
        if self.style.polls == Some(0) || (self.style.polls.is_some() && cx.winding_down) {
            self.done = true;
            return None;
        }
        let now_ns = cx.world.now_ns();
        if now_ns < self.not_before_ns {
            return Some(self.not_before_ns - now_ns);
        }
        if cx.rng.percent(self.style.hang_up_percent) {
            let requests = cx.hang_up();
            self.lost(cx, requests);
        }
        if cx.connection().is_none() {
            return Some(5_000_000);
        }
        let chosen = self.choose(cx);
        if chosen.is_empty() {
            self.done = self.style.polls.is_none();
            return Some(20_000_000);
        }
        if self.number.is_none() {
            self.number = Some(cx.oracle.txns.new_reader());
        }
        let want = |tp: Tp, cx: &mut Cx<'_>, offset| Want { tp, offset, expected: cx.oracle.expect(tp) };
        self.asked = chosen.iter().map(|tp| want(*tp, cx, self.positions.get(tp).copied().unwrap_or(0))).collect();
        let (api, version, body) = fetch::request(cx, self.style.version, &self.asked, &self.style.limits, (0, -1));
        self.in_flight = cx.send(api, version, 0, body);
        if let Some(polls) = &mut self.style.polls {
            *polls -= 1;
        }
        if self.in_flight { None } else { Some(5_000_000) }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, request: &Request, body: &[u8]) {
        self.in_flight = false;
        self.not_before_ns = cx.world.now_ns() + cx.rng.below(self.style.pause_ns + 1);
        let Some(response) = decode::<FetchResponse>(cx, "Fetch", body, request.version) else { return };
        match error_code(response.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::UNKNOWN_TOPIC_ID => return,
            error => return cx.oracle.fail(format!("Fetch of client {}: {}", cx.me, error.name())),
        }
        let asked = std::mem::take(&mut self.asked);
        let mut shown = Vec::new();
        let nothing = response.responses.iter().flat_map(|topic| &topic.partitions).all(|data| data.records.is_empty());
        for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
            match asked.iter().find(|want| want.tp.partition == data.partition_index) {
                Some(want) => shown.extend(self.take(cx, want, data, nothing)),
                None => cx.oracle.fail(format!("Fetch: answered with partition {}, not asked", data.partition_index)),
            }
        }
        if let (Some(number), false) = (self.number, shown.is_empty()) {
            self.shown += shown.len() as u64;
            cx.oracle.txns.polled(number, &shown);
            cx.oracle.judge_txns();
        }
        self.done |= self.open.as_ref().is_some_and(BTreeSet::is_empty);
    }

    fn lost(&mut self, _cx: &mut Cx<'_>, _requests: Vec<Request>) {
        self.in_flight = false;
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        let open = self.open.as_ref().map(BTreeSet::len);
        format!("reader of committed records ({:?}), {} shown, {open:?} partitions open", self.style, self.shown)
    }
}
