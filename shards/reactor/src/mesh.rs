//! Messages between shards: a wait-free queue of fixed length for each ordered pair, and a message from ring to ring that wakes
//! the receiver where it sleeps. Made once for all shards, then each takes its [`Mesh`] to its thread.
//!
//! Invariant: a receiver takes in whatever has come, in every round, so a queue that is full gets room by itself. What does not fit waits with the
//! sender, which reads nothing from its clients as long as anything does. So what waits is bounded by what the requests of one round and those
//! at work call for, of which every connection has a bounded number.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};

use floe_engine::event::{Input, ShardId};
use floe_engine::mesh::MeshMsg;
use floe_engine::metrics::Histogram;
use io_uring::{opcode, squeue, types};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::limits::MESH_QUEUE_LEN;
use crate::ring::{Kind, Ring, token};

/// What others need to know to wake a shard. On a cache line of its own, as every sender looks at it.
#[repr(align(128))]
struct Door {
    asleep: AtomicBool,
    /// -1 until the shard's thread has made its ring.
    ring_fd: AtomicI32,
}

/// A message and when it was given to the mesh, in nanoseconds.
type Sent = (u64, MeshMsg);

/// One shard's ends of all its queues.
pub struct Mesh {
    shard: usize,
    doors: Arc<[Door]>,
    /// By receiver; none for itself.
    to: Vec<Option<Producer<Sent>>>,
    /// By sender; none for itself.
    from: Vec<Option<Consumer<Sent>>>,
    /// By receiver: what did not fit.
    waiting: Vec<VecDeque<Sent>>,
    /// Receivers that were sent something since the last [`Mesh::flush`].
    sent: Vec<bool>,
}

/// The ends for `shards` shards.
pub fn mesh(shards: usize) -> Vec<Mesh> {
    let doors: Arc<[Door]> =
        (0..shards).map(|_| Door { asleep: AtomicBool::new(false), ring_fd: AtomicI32::new(-1) }).collect();
    let mut all: Vec<Mesh> = (0..shards)
        .map(|shard| Mesh {
            shard,
            doors: doors.clone(),
            to: (0..shards).map(|_| None).collect(),
            from: (0..shards).map(|_| None).collect(),
            waiting: (0..shards).map(|_| VecDeque::new()).collect(),
            sent: vec![false; shards],
        })
        .collect();
    for sender in 0..shards {
        for receiver in (0..shards).filter(|receiver| *receiver != sender) {
            let (producer, consumer) = RingBuffer::new(MESH_QUEUE_LEN);
            all[sender].to[receiver] = Some(producer);
            all[receiver].from[sender] = Some(consumer);
        }
    }
    all
}

impl Mesh {
    /// Tells the others how this shard is woken.
    pub fn open(&self, ring: &Ring) {
        self.doors[self.shard].ring_fd.store(ring.fd(), Ordering::Release);
    }

    /// Sends; [`Mesh::flush`] wakes the receiver.
    pub fn send(&mut self, now_ns: u64, to: ShardId, msg: MeshMsg) {
        let msg = (now_ns, msg);
        let to = usize::from(to.0);
        self.sent[to] = true;
        // What waits goes first: messages of one shard arrive in order.
        if self.waiting[to].is_empty() {
            let queue = self.to[to].as_mut().expect("no shard sends to itself");
            if let Err(rtrb::PushError::Full(msg)) = queue.push(msg) {
                self.waiting[to].push_back(msg);
            }
        } else {
            self.waiting[to].push_back(msg);
        }
    }

    /// Whether something waits because a queue is full.
    pub fn is_behind(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Moves what waits as far as there is room, and wakes receivers that sleep.
    pub fn flush(&mut self, ring: &mut Ring) {
        for to in 0..self.doors.len() {
            while let Some(msg) = self.waiting[to].pop_front() {
                let queue = self.to[to].as_mut().expect("no shard sends to itself");
                if let Err(rtrb::PushError::Full(msg)) = queue.push(msg) {
                    self.waiting[to].push_front(msg);
                    break;
                }
                self.sent[to] = true;
            }
            if std::mem::take(&mut self.sent[to]) {
                // Pairs with the fence in `may_sleep`: either it sees the message or this sees it asleep.
                fence(Ordering::SeqCst);
                if self.doors[to].asleep.swap(false, Ordering::AcqRel) {
                    self.wake(to, ring);
                }
            }
        }
    }

    fn wake(&self, to: usize, ring: &mut Ring) {
        let fd: RawFd = self.doors[to].ring_fd.load(Ordering::Acquire);
        let entry = opcode::MsgRingData::new(types::Fd(fd), 0, token(Kind::Mesh, 0), None).build();
        let entry = entry.user_data(token(Kind::Nothing, 0)).flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the operation points to no memory; the receiver's ring lives until all shards have stopped.
        unsafe { ring.push(entry) }
    }

    /// Takes what has come, as inputs, and enters into `hop_ns` how long each was on its way.
    pub fn receive(&mut self, now_ns: u64, hop_ns: &mut Histogram, inputs: &mut VecDeque<Input>) {
        for (sender, queue) in self.from.iter_mut().enumerate() {
            let Some(queue) = queue else { continue };
            let count = queue.slots();
            if count == 0 {
                continue;
            }
            let chunk = queue.read_chunk(count).expect("so many are there");
            let from = ShardId(sender as u16);
            inputs.extend(chunk.into_iter().map(|(sent_ns, msg)| {
                hop_ns.record(now_ns.saturating_sub(sent_ns));
                Input::Mesh { from, msg }
            }));
        }
    }

    /// Says that this shard is about to sleep; `false` when something has come meanwhile and it must not.
    pub fn may_sleep(&self) -> bool {
        if self.doors.len() == 1 {
            return true;
        }
        self.doors[self.shard].asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.from.iter().flatten().all(|queue| queue.is_empty()) && !self.is_behind() {
            return true;
        }
        self.awake();
        false
    }

    /// Whether something has come.
    pub fn has_come(&self) -> bool {
        self.from.iter().flatten().any(|queue| !queue.is_empty())
    }

    /// Says that this shard does not sleep: nobody needs to wake it.
    pub fn awake(&self) {
        self.doors[self.shard].asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_in_order_and_is_told() {
        let mut ring = Ring::new().expect("a ring");
        let mut ends = mesh(2);
        let (mut receiver, mut sender) = (ends.pop().expect("two"), ends.pop().expect("two"));
        let count = 2 * MESH_QUEUE_LEN as u64 + 5;
        for token in 0..count {
            assert_eq!(sender.is_behind(), token > MESH_QUEUE_LEN as u64);
            sender.send(0, ShardId(1), MeshMsg::Wake { token });
        }
        let (mut inputs, mut hops) = (VecDeque::new(), Histogram::default());
        for behind in [true, true, false] {
            sender.flush(&mut ring);
            assert_eq!(sender.is_behind(), behind);
            receiver.receive(0, &mut hops, &mut inputs);
            sender.flush(&mut ring);
        }
        receiver.receive(0, &mut hops, &mut inputs);
        let tokens = inputs.into_iter().map(|input| match input {
            Input::Mesh { from: ShardId(0), msg: MeshMsg::Wake { token } } => token,
            other => panic!("{other:?}"),
        });
        assert_eq!(tokens.collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    }
}
