//! Reads of segments at the device: how much at once, and what is read before it is asked for. Lives in the [`super::ShardLog`].
//!
//! A commit's write waits in the device's queue behind the large reads put there before it: beside four reads of 1 MB at a time durable writes took ten
//! times as long and more (docs/decisions/0016-cold-reads-beside-commits.md). So only [`COLD_BYTES_MAX`] are under way at once, in pieces of
//! `cold.read.bytes`, one of each read before the device. To keep it at work all the same while an answer is on its way to a client and back, what
//! comes next is read ahead for who reads on.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::{DiskError, DiskOp, DiskOutput, Effects, FileHandle};
use crate::limits::{BLOCK_BYTES, COLD_BYTES_MAX, READS_AHEAD_MAX};
use crate::log::ReadTicket;
use crate::log::ops::{Op, Ops};

/// Whole blocks of a segment.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) file: FileHandle,
    pub(super) offset: u64,
    pub(super) len: u64,
}

#[derive(Debug)]
enum State {
    /// For its turn: those that were asked for go first.
    Waiting,
    /// Who has asked for it meanwhile.
    UnderWay(Option<ReadTicket>),
    Here(Bytes),
}

/// A read that nobody had asked for when it began.
#[derive(Debug)]
struct Ahead {
    id: u64,
    range: Range,
    state: State,
    /// It was here when time was last told.
    is_old: bool,
}

/// Reads under way, waiting, and done before they were asked for.
#[derive(Debug)]
pub(in crate::log) struct Reads {
    /// `cold.read.bytes`, whole blocks.
    piece: u64,
    /// Bytes under way.
    bytes: u64,
    /// Asked for, and waiting for their turn.
    waiting: VecDeque<(ReadTicket, Range)>,
    ahead: VecDeque<Ahead>,
    last_id: u64,
}

impl Range {
    fn holds(&self, other: &Range) -> bool {
        self.file.same(&other.file) && self.offset == other.offset && self.len >= other.len
    }

    fn op(self, piece: u64) -> DiskOp {
        DiskOp::Read { file: self.file, offset: self.offset, len: self.len, piece }
    }
}

impl Reads {
    /// None.
    pub(in crate::log) fn in_pieces_of(piece: u64) -> Reads {
        let piece = (piece - piece % BLOCK_BYTES).max(BLOCK_BYTES);
        Reads { piece, bytes: 0, waiting: VecDeque::new(), ahead: VecDeque::new(), last_id: 0 }
    }

    /// Reads for a ticket; what has been read ahead is given at once.
    pub(super) fn ask(&mut self, ticket: ReadTicket, range: Range, ops: &mut Ops, fx: &mut Effects) -> Option<Bytes> {
        if let Some(at) = self.ahead.iter().position(|ahead| ahead.range.holds(&range)) {
            match &mut self.ahead[at].state {
                State::UnderWay(waiter @ None) => {
                    *waiter = Some(ticket);
                    return None;
                }
                // Another one waits for it.
                State::UnderWay(Some(_)) => {}
                State::Waiting => drop(self.ahead.remove(at)),
                State::Here(_) => match self.ahead.remove(at).map(|ahead| ahead.state) {
                    Some(State::Here(bytes)) => return Some(bytes),
                    _ => unreachable!("looked at just now"),
                },
            }
        }
        self.waiting.push_back((ticket, range));
        self.start(ops, fx);
        None
    }

    /// Reads what will be asked for, when nothing else is to be read. What was read and waits to be asked for makes no room for it: then both would be
    /// read once more.
    pub(super) fn ask_ahead(&mut self, range: Range, ops: &mut Ops, fx: &mut Effects) {
        if self.ahead.iter().any(|ahead| ahead.range.holds(&range)) {
            return;
        }
        if self.ahead.len() >= READS_AHEAD_MAX {
            let Some(at) = self.ahead.iter().position(|ahead| ahead.is_old) else { return };
            self.ahead.remove(at);
        }
        self.last_id += 1;
        self.ahead.push_back(Ahead { id: self.last_id, range, state: State::Waiting, is_old: false });
        self.start(ops, fx);
    }

    /// Whether so much is read ahead that each reader is to have one read of it only.
    pub(super) fn are_crowded(&self) -> bool {
        self.ahead.len() >= READS_AHEAD_MAX / 2
    }

    /// A read that was asked for has ended.
    pub(in crate::log) fn ended(&mut self, len: u64, ops: &mut Ops, fx: &mut Effects) {
        self.bytes -= len;
        self.start(ops, fx);
    }

    /// A read ahead has ended; gives it to who has asked for it meanwhile.
    pub(in crate::log) fn ahead_ended(
        &mut self,
        id: u64,
        result: Result<DiskOutput, DiskError>,
        ops: &mut Ops,
        fx: &mut Effects,
    ) -> Option<(ReadTicket, Result<DiskOutput, DiskError>)> {
        let at = self.ahead.iter().position(|ahead| ahead.id == id).expect("it stays while it is under way");
        let ahead = &mut self.ahead[at];
        self.bytes -= ahead.range.len;
        let asked = match (&ahead.state, result) {
            (State::UnderWay(Some(ticket)), result) => Some((*ticket, result)),
            (_, Ok(DiskOutput::Data(bytes))) => {
                ahead.state = State::Here(bytes);
                self.start(ops, fx);
                return None;
            }
            // Who asks for it reads it again, and hears of the error.
            _ => None,
        };
        self.ahead.remove(at);
        self.start(ops, fx);
        asked
    }

    /// Lets go of what nobody has asked for since the last time: its file may have been removed.
    pub(in crate::log) fn forget_old(&mut self) {
        self.ahead.retain(|ahead| !(ahead.is_old && matches!(ahead.state, State::Here(_))));
        for ahead in &mut self.ahead {
            ahead.is_old = matches!(ahead.state, State::Here(_));
        }
    }

    fn start(&mut self, ops: &mut Ops, fx: &mut Effects) {
        let fits = |bytes: u64, range: &Range| bytes == 0 || bytes + range.len <= COLD_BYTES_MAX;
        while let Some((ticket, range)) = self.waiting.pop_front_if(|(_, range)| fits(self.bytes, range)) {
            self.bytes += range.len;
            ops.issue(Op::ColdRead(ticket, range.len), range.op(self.piece), fx);
        }
        if !self.waiting.is_empty() {
            return;
        }
        for ahead in self.ahead.iter_mut().filter(|ahead| matches!(ahead.state, State::Waiting)) {
            if !fits(self.bytes, &ahead.range) {
                return;
            }
            self.bytes += ahead.range.len;
            ahead.state = State::UnderWay(None);
            ops.issue(Op::Ahead(ahead.id), ahead.range.clone().op(self.piece), fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DiskErrorKind, Effect, OpId};

    const MIB: u64 = 1 << 20;

    struct Bench {
        reads: Reads,
        ops: Ops,
        fx: Effects,
    }

    impl Default for Bench {
        fn default() -> Bench {
            Bench { reads: Reads::in_pieces_of(MIB), ops: Ops::default(), fx: Effects::default() }
        }
    }

    impl Bench {
        fn ask(&mut self, ticket: u64, range: &Range) -> Option<Bytes> {
            self.reads.ask(ReadTicket(ticket), range.clone(), &mut self.ops, &mut self.fx)
        }

        fn ask_ahead(&mut self, range: &Range) {
            self.reads.ask_ahead(range.clone(), &mut self.ops, &mut self.fx);
        }

        /// What was asked of the disk since the last time: number, offset, what for.
        fn begun(&mut self) -> Vec<(u64, Op)> {
            let begun = self.fx.drain(..).map(|effect| match effect {
                Effect::Disk { op: OpId(id), what: DiskOp::Read { offset, .. } } => {
                    (offset, self.ops.ended(OpId(id)).expect("under way"))
                }
                other => panic!("{other:?}"),
            });
            begun.collect()
        }

        fn ahead_ended(&mut self, id: u64, result: Result<DiskOutput, DiskError>) -> Option<ReadTicket> {
            self.reads.ahead_ended(id, result, &mut self.ops, &mut self.fx).map(|(ticket, _)| ticket)
        }
    }

    fn range(file: &FileHandle, offset: u64) -> Range {
        Range { file: file.clone(), offset, len: MIB }
    }

    fn data() -> Result<DiskOutput, DiskError> {
        Ok(DiskOutput::Data(Bytes::from_static(b"x")))
    }

    #[test]
    fn large_reads_go_two_at_a_time_and_those_asked_for_first() {
        let (mut bench, file) = (Bench::default(), FileHandle::new(()));
        assert_eq!(bench.ask(1, &range(&file, 0)), None);
        assert_eq!(bench.ask(2, &range(&file, MIB)), None);
        bench.ask_ahead(&range(&file, 5 * MIB));
        assert_eq!(bench.ask(3, &range(&file, 2 * MIB)), None);
        let begun = bench.begun();
        assert!(matches!(begun[..], [(0, Op::ColdRead(ReadTicket(1), MIB)), (MIB, Op::ColdRead(ReadTicket(2), MIB))]));
        bench.reads.ended(MIB, &mut bench.ops, &mut bench.fx);
        assert!(matches!(bench.begun()[..], [(at, Op::ColdRead(ReadTicket(3), MIB))] if at == 2 * MIB));
        bench.reads.ended(MIB, &mut bench.ops, &mut bench.fx);
        assert!(matches!(bench.begun()[..], [(at, Op::Ahead(1))] if at == 5 * MIB));
        // Small ones share the turn.
        assert_eq!(bench.ahead_ended(1, data()), None);
        for ticket in 4..7 {
            assert_eq!(bench.ask(ticket, &Range { file: file.clone(), offset: ticket, len: MIB / 2 }), None);
        }
        assert_eq!(bench.begun().len(), 2);
    }

    #[test]
    fn what_was_read_ahead_is_given_once_and_only_of_the_same_opening_of_the_file() {
        let (mut bench, file, other) = (Bench::default(), FileHandle::new(()), FileHandle::new(()));
        let ask = range(&file, MIB);
        bench.ask_ahead(&ask);
        bench.ask_ahead(&ask);
        assert_eq!(bench.begun().len(), 1);
        assert_eq!(bench.ahead_ended(1, data()), None);
        assert_eq!(bench.ask(1, &range(&other, MIB)), None);
        assert_eq!(bench.ask(2, &Range { len: MIB + 1, ..ask.clone() }), None);
        assert_eq!(bench.ask(3, &ask), Some(Bytes::from_static(b"x")));
        assert_eq!(bench.ask(4, &ask), None);
    }

    #[test]
    fn who_asks_while_it_is_being_read_waits_for_it_and_hears_of_an_error() {
        let (mut bench, file) = (Bench::default(), FileHandle::new(()));
        let ask = range(&file, 0);
        bench.ask_ahead(&ask);
        assert_eq!(bench.ask(1, &ask), None);
        assert_eq!(bench.begun().len(), 1);
        let error = || Err(DiskError { kind: DiskErrorKind::Io, message: "injected".into() });
        assert_eq!(bench.ahead_ended(1, error()), Some(ReadTicket(1)));
        // An error that nobody waited for is not kept.
        bench.ask_ahead(&ask);
        assert_eq!(bench.begun().len(), 1);
        assert_eq!(bench.ahead_ended(2, error()), None);
        assert_eq!(bench.ask(2, &ask), None);
        assert_eq!(bench.begun().len(), 1);
    }

    #[test]
    fn what_nobody_asks_for_is_let_go_and_never_more_than_the_limit_is_held() {
        let (mut bench, file) = (Bench::default(), FileHandle::new(()));
        for i in 0..READS_AHEAD_MAX as u64 {
            bench.ask_ahead(&range(&file, i * MIB));
            bench.begun();
            assert_eq!(bench.ahead_ended(i + 1, data()), None);
        }
        let one_more = range(&file, READS_AHEAD_MAX as u64 * MIB);
        bench.ask_ahead(&one_more);
        assert!(bench.begun().is_empty(), "what is here and fresh stays");
        bench.reads.forget_old();
        bench.ask_ahead(&one_more);
        assert_eq!(bench.begun().len(), 1, "what is here and old makes room");
        assert_eq!(bench.ahead_ended(READS_AHEAD_MAX as u64 + 1, data()), None);
        assert_eq!(bench.reads.ahead.len(), READS_AHEAD_MAX);
        bench.reads.forget_old();
        assert_eq!(bench.reads.ahead.len(), 1);
        bench.reads.forget_old();
        assert!(bench.reads.ahead.is_empty());
    }
}
