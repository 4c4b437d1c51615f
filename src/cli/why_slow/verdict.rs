//! What holds a broker's clients back: the rules, from a few shares to one word. Knows neither metrics nor screens.
//!
//! The order is the point: what stands first explains what stands behind it. Sockets that are not read make everybody wait, and a device that is
//! never idle is the reason for it; a core without time left makes every stage behind it look slow; a device is slow by itself; and when
//! none of that is so, the broker had time and the clients did not use it.

/// Share of time for which sockets were not read, from which that is what clients notice.
const CLOSED_MIN: f64 = 0.10;
/// Share of time that a shard computes, from which queues before it grow without end.
const BUSY_MIN: f64 = 0.85;
/// Share of time for which a shard could run and has no CPU, from which it is the machine that is short.
const STARVED_MIN: f64 = 0.20;
/// Commits under way on average, from which the device is hardly ever without one.
const DEPTH_MIN: f64 = 0.80;
/// Share of a request's time before the device and on it, from which the rest does not matter.
const DEVICE_SHARE_MIN: f64 = 0.50;
/// Share of time for which connections have nothing at work, from which it is them who do not ask.
const IDLE_CLIENTS_MIN: f64 = 0.50;
/// How many times the others' mean a shard has to be busy to be called hotter than them.
const HOTTER_MIN: f64 = 1.5;
/// Requests a second below which there is nothing to be slow.
const REQUESTS_MIN: f64 = 1.0;

/// How one shard spent its time, as shares of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shard {
    /// It computed.
    pub(super) busy: f64,
    /// It could have and had no CPU.
    pub(super) starved: f64,
    /// Its sockets were not read.
    pub(super) closed: f64,
    /// Commits under way on average.
    pub(super) depth: f64,
    /// Whether it gave its numbers.
    pub(super) answers: bool,
}

/// What the rules look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signs {
    /// Requests a second.
    pub(super) requests: f64,
    /// Share of a request's time spent before the device and on it.
    pub(super) device_share: f64,
    /// Share of the connections' time without any request at work.
    pub(super) clients_idle: f64,
    /// By number.
    pub(super) shards: Vec<Shard>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Nobody asks for anything.
    Idle,
    /// Journal writes.
    Device,
    /// A core without time left, or without its core.
    HotShard,
    /// Sockets that are not read because memory is spent.
    Throttle,
    /// The clients: the broker waits for them.
    Client,
}

/// The word and the reason, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What it is.
    pub(super) limit: Limit,
    /// The shard that it is about.
    pub(super) shard: Option<usize>,
    /// Why, and what helps.
    pub(super) because: String,
}

impl Limit {
    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::Idle => "idle",
            Limit::Device => "device",
            Limit::HotShard => "hot shard",
            Limit::Throttle => "throttle",
            Limit::Client => "client",
        }
    }
}

/// Judges.
pub(super) fn judge(signs: &Signs) -> Verdict {
    let verdict = |limit, shard, because| Verdict { limit, shard, because };
    if let Some(silent) = signs.shards.iter().position(|shard| !shard.answers) {
        let because = format!(
            "shard {silent} did not give its numbers in time: it is overloaded or stuck; look at the broker's log"
        );
        return verdict(Limit::HotShard, Some(silent), because);
    }
    if signs.requests < REQUESTS_MIN {
        return verdict(Limit::Idle, None, "nobody asks for anything".to_owned());
    }
    let (at, closed) = most(signs, |shard| shard.closed);
    if closed >= CLOSED_MIN {
        let depth = signs.shards[at].depth;
        if depth >= DEPTH_MIN {
            let because = format!(
                "shard {at} did not read its sockets for {} of the time, its journal being behind: clients send more than the device takes; a faster device, more devices below one file system, or fewer bytes (compression) help",
                percent(closed)
            );
            return verdict(Limit::Device, Some(at), because);
        }
        let because = format!(
            "shard {at} did not read its sockets for {} of the time: requests and answers that nobody reads fill memory.bytes; let clients read faster or ask for less at once, or raise it",
            percent(closed)
        );
        return verdict(Limit::Throttle, Some(at), because);
    }
    let (at, starved) = most(signs, |shard| shard.starved);
    if starved >= STARVED_MIN {
        let because = format!(
            "shard {at} could have run and had no CPU for {} of the time: something else runs on its core; give the broker cores of its own (--cores)",
            percent(starved)
        );
        return verdict(Limit::HotShard, Some(at), because);
    }
    let (at, busy) = most(signs, |shard| shard.busy);
    if busy >= BUSY_MIN {
        let others = others_mean(signs, at, |shard| shard.busy);
        let because = match others {
            Some(mean) if busy >= HOTTER_MIN * mean => format!(
                "shard {at} computes for {} of the time, the others for {} on average: its partitions get most of the load; more partitions, keys that spread, or clients spread over more connections",
                percent(busy),
                percent(mean)
            ),
            _ => format!(
                "shard {at} computes for {} of the time, and every shard about as much: larger batches, or more cores (--cores)",
                percent(busy)
            ),
        };
        return verdict(Limit::HotShard, Some(at), because);
    }
    let (at, depth) = most(signs, |shard| shard.depth);
    if signs.device_share >= DEVICE_SHARE_MIN && (depth >= DEPTH_MIN || signs.clients_idle < IDLE_CLIENTS_MIN) {
        let because = format!(
            "{} of a request's time passes before the device and on it, with {depth:.1} writes under way on shard {at}: larger batches and more requests at once share a write; a faster device; durability `written` or `memory` where loss is no matter",
            percent(signs.device_share)
        );
        return verdict(Limit::Device, Some(at), because);
    }
    let because = format!(
        "connections have nothing at work for {} of the time, and the busiest shard computes for {}: the broker waits for its clients; more requests at once, more clients, or a faster network",
        percent(signs.clients_idle),
        percent(busy)
    );
    verdict(Limit::Client, None, because)
}

/// The shard with most of something; 0 when there are none.
fn most(signs: &Signs, of: impl Fn(&Shard) -> f64) -> (usize, f64) {
    let all = signs.shards.iter().map(of).enumerate();
    all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

fn others_mean(signs: &Signs, except: usize, of: impl Fn(&Shard) -> f64) -> Option<f64> {
    let others: Vec<f64> =
        signs.shards.iter().enumerate().filter(|(at, _)| *at != except).map(|(_, shard)| of(shard)).collect();
    (!others.is_empty()).then(|| others.iter().sum::<f64>() / others.len() as f64)
}

/// A share for people.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 {
        return "< 0.1 %".to_owned();
    }
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Shard = Shard { busy: 0.1, starved: 0.01, closed: 0.0, depth: 0.1, answers: true };

    fn signs(requests: f64, device_share: f64, clients_idle: f64, shards: &[Shard]) -> Signs {
        Signs { requests, device_share, clients_idle, shards: shards.to_vec() }
    }

    #[test]
    fn each_sign_has_its_verdict() {
        let hot = Shard { busy: 0.97, ..CALM };
        let starved = Shard { starved: 0.4, busy: 0.5, ..CALM };
        let written = Shard { depth: 0.95, ..CALM };
        let behind = Shard { closed: 0.3, depth: 2.5, ..CALM };
        let full = Shard { closed: 0.3, ..CALM };
        let silent = Shard { answers: false, ..Shard::default() };
        let rows: &[(Signs, Limit, Option<usize>, &str)] = &[
            (signs(0.0, 0.0, 1.0, &[CALM]), Limit::Idle, None, "nobody asks"),
            (signs(0.9, 0.9, 0.9, &[hot, behind]), Limit::Idle, None, "nobody asks"),
            (signs(5e4, 0.2, 0.2, &[CALM, hot]), Limit::HotShard, Some(1), "the others for 10 %"),
            (signs(5e4, 0.9, 0.2, &[hot, hot]), Limit::HotShard, Some(1), "every shard about as much"),
            (signs(5e4, 0.9, 0.2, &[hot]), Limit::HotShard, Some(0), "more cores"),
            (signs(5e4, 0.9, 0.2, &[CALM, starved]), Limit::HotShard, Some(1), "had no CPU for 40 %"),
            (signs(5e4, 0.2, 0.2, &[CALM, silent]), Limit::HotShard, Some(1), "did not give its numbers"),
            (signs(5e4, 0.8, 0.9, &[written, CALM]), Limit::Device, Some(0), "80 % of a request's time"),
            // One client that waits for each of its writes: the device is not full, and it is what the client waits for.
            (signs(2e3, 0.8, 0.1, &[Shard { depth: 0.6, ..CALM }]), Limit::Device, Some(0), "0.6 writes"),
            (signs(2e3, 0.8, 0.9, &[Shard { depth: 0.3, ..CALM }]), Limit::Client, None, "nothing at work for 90 %"),
            (signs(2e3, 0.3, 0.1, &[written]), Limit::Client, None, "nothing at work for 10 %"),
            (signs(5e4, 0.8, 0.2, &[CALM, behind]), Limit::Device, Some(1), "more than the device takes"),
            (signs(5e4, 0.8, 0.2, &[CALM, full]), Limit::Throttle, Some(1), "memory.bytes"),
            // What stops the reading comes before what is busy meanwhile.
            (signs(5e4, 0.8, 0.2, &[hot, full]), Limit::Throttle, Some(1), "30 %"),
            (signs(5e4, 0.1, 0.95, &[CALM, CALM]), Limit::Client, None, "busiest shard computes for 10 %"),
            (signs(5e4, 0.1, 0.95, &[]), Limit::Client, None, ""),
        ];
        for (signs, limit, shard, words) in rows {
            let verdict = judge(signs);
            assert_eq!((verdict.limit, verdict.shard), (*limit, *shard), "{signs:?}: {}", verdict.because);
            assert!(verdict.because.contains(words), "{signs:?}: {}", verdict.because);
            assert!(!verdict.because.contains('\n'));
        }
    }

    #[test]
    fn each_threshold_is_where_it_says() {
        type Turn = fn(f64) -> Signs;
        let rows: &[(Turn, f64, Limit)] = &[
            (|x| signs(9.0, 0.0, 1.0, &[Shard { closed: x, ..CALM }]), CLOSED_MIN, Limit::Throttle),
            (|x| signs(9.0, 0.0, 1.0, &[Shard { busy: x, ..CALM }]), BUSY_MIN, Limit::HotShard),
            (|x| signs(9.0, 0.0, 1.0, &[Shard { starved: x, ..CALM }]), STARVED_MIN, Limit::HotShard),
            (|x| signs(9.0, 0.6, 1.0, &[Shard { depth: x, ..CALM }]), DEPTH_MIN, Limit::Device),
            (|x| signs(9.0, x, 0.0, &[CALM]), DEVICE_SHARE_MIN, Limit::Device),
        ];
        for (make, threshold, limit) in rows {
            assert_eq!(judge(&make(*threshold)).limit, *limit);
            assert_eq!(judge(&make(threshold - 0.01)).limit, Limit::Client, "{limit:?}");
        }
    }

    #[test]
    fn shares_are_written_for_people() {
        assert_eq!(
            [0.0, 1e-5, 0.004, 0.0951, 0.5, 1.0].map(percent),
            ["0 %", "< 0.1 %", "0.4 %", "9.5 %", "50 %", "100 %"]
        );
    }
}
