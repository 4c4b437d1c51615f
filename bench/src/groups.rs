//! `bench groups`: what many groups cost a broker. 1,000 groups with 10,000 members that heartbeat as clients do when nobody sets anything (half of each
//! protocol), 100,000 committed offsets: CPU, memory, the latency of commits, and the time after kill -9 until every group answers again.
//!
//! The same tool and the same requests for any broker; each is measured by itself, on its core, one after the other.

mod asking;
mod fleet;
mod member;

use std::time::{Duration, Instant};

use floe_wire::messages::find_coordinator::GROUP;
use serde::Serialize;

use self::asking::Asking;
use self::fleet::{Fleet, MEMBERS, PARTITIONS};
use crate::broker::{Broker, Place, Subject};
use crate::client::Client;
use crate::generator::raise_file_limit;
use crate::proc;
use crate::report;

const TOPIC: &str = "groups";
/// How long all members may take to join, and to be back.
const JOIN_MAX: Duration = Duration::from_secs(180);
/// What the offsets are before anybody commits.
const FIRST_OFFSET: i64 = 1;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One after the other.
    pub subjects: Vec<Subject>,
    /// Groups, of ten members each.
    pub groups: usize,
    /// Seconds that count of heartbeats alone, and of heartbeats with commits.
    pub seconds: f64,
    /// Commits a second, of ten partitions each.
    pub commits: u32,
}

/// What came out for one broker.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Which.
    pub subject: &'static str,
    /// Groups.
    pub groups: usize,
    /// Members of them all.
    pub members: usize,
    /// Committed offsets.
    pub offsets: usize,
    /// Resident memory, in bytes: just started; with the offsets; with the members, after the heartbeats; after the commits; after kill -9 and start with all members back.
    pub rss_bytes: [u64; 5],
    /// From the first join until all members are in, in seconds.
    pub join_s: f64,
    /// Heartbeats answered a second.
    pub heartbeats_per_s: f64,
    /// Share of a core that they took.
    pub heartbeat_cpu_share: f64,
    /// Commits taken a second, beside the heartbeats.
    pub commits_per_s: f64,
    /// Commits that were refused.
    pub commits_refused: u64,
    /// Share of a core that both took.
    pub commit_cpu_share: f64,
    /// From when a commit was due until its answer, in microseconds: p50, p99, p99.9, most.
    pub commit_us: [u64; 4],
    /// From the start of the process after kill -9 to its first answer, in seconds.
    pub first_answer_s: f64,
    /// From there until OffsetFetch has answered for all groups, in seconds.
    pub recovered_s: f64,
    /// Members that had to join again after that.
    pub rejoined: usize,
}

impl Found {
    fn us_per_heartbeat(&self) -> f64 {
        self.heartbeat_cpu_share * 1e6 / self.heartbeats_per_s
    }
}

/// Measures, prints, keeps.
pub fn run(place: &Place, plan: &Plan) -> Result<(), String> {
    raise_file_limit();
    std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    // A broker is started by taskset, which gives it its own core.
    proc::pin_self(place.load_core).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for &subject in &plan.subjects {
        let broker = Broker::start(place, subject)?;
        let (fleet, before) = before(place, plan, &broker)?;
        found.push(after(place, broker, fleet, before)?);
    }
    print(&found)
}

fn say(subject: &str, what: std::fmt::Arguments<'_>) {
    println!("  {subject}: {what}");
}

/// All that happens until the broker is killed.
fn before(place: &Place, plan: &Plan, broker: &Broker) -> Result<(Fleet, Found), String> {
    let subject = broker.subject().name();
    let text = |error: std::io::Error| error.to_string();
    let started = broker.rss();
    let partitions = MEMBERS as i32 * PARTITIONS;
    Client::connect(place.port).and_then(|mut client| client.create_topic(TOPIC, partitions)).map_err(text)?;
    let groups: Vec<String> = (0..plan.groups).map(|group| format!("group-{group:05}")).collect();
    let mut asking = Asking::connect(place.port).map_err(text)?;
    asking.find_coordinator(&groups[0], GROUP).map_err(text)?;
    for group in &groups {
        asking.commit(group, TOPIC, partitions, FIRST_OFFSET).map_err(text)?;
    }
    let with_offsets = broker.rss();
    let offsets = asking.all_offsets(&groups).map_err(text)?;
    say(subject, format_args!("{offsets} offsets of {} groups are committed", groups.len()));

    let address = std::net::SocketAddr::from(([127, 0, 0, 1], place.port));
    let mut fleet = Fleet::new(address, TOPIC, &groups)?;
    let began = Instant::now();
    let end = began + JOIN_MAX;
    // Ten groups share ten connections: one of them at a time joins, for a join that waits holds up its connection.
    for wave in 0..MEMBERS {
        let of_wave: Vec<usize> = (0..fleet.members.len()).filter(|at| at / MEMBERS % MEMBERS == wave).collect();
        fleet.spread(of_wave.iter().copied(), Duration::from_millis(200));
        let all_in = |fleet: &Fleet| of_wave.iter().all(|at| fleet.members[*at].is_inside());
        if !fleet.run(end, all_in)? {
            let inside = fleet.inside();
            return Err(format!("{subject}: only {inside} members are in after {} s", JOIN_MAX.as_secs()));
        }
    }
    let join_s = began.elapsed().as_secs_f64();
    say(subject, format_args!("{} members are in after {join_s:.1} s", fleet.inside()));

    // Until nobody learns anything new any more, and heartbeats have spread out.
    fleet.run(Instant::now() + Duration::from_secs(6), |_| false)?;
    let seconds = Duration::from_secs_f64(plan.seconds);
    fleet.count_anew();
    let cpu = broker.cpu_s();
    fleet.run(Instant::now() + seconds, |_| false)?;
    let heartbeat_cpu_share = (broker.cpu_s() - cpu) / plan.seconds;
    let heartbeats_per_s = fleet.count_anew().heartbeats as f64 / plan.seconds;
    let with_members = broker.rss();
    say(subject, format_args!("{heartbeats_per_s:.0} heartbeats/s at {:.1} % of a core", heartbeat_cpu_share * 100.0));

    // A second to get warm.
    fleet.commit(Duration::from_secs(1), plan.commits, FIRST_OFFSET + 1)?;
    fleet.count_anew();
    let (cpu, began) = (broker.cpu_s(), Instant::now());
    fleet.commit(seconds, plan.commits, FIRST_OFFSET + 2)?;
    let spent = began.elapsed().as_secs_f64();
    let commit_cpu_share = (broker.cpu_s() - cpu) / spent;
    let counts = fleet.count_anew();
    let at = |quantile| counts.commit_us.value_at_quantile(quantile);
    let commit_us = [at(0.5), at(0.99), at(0.999), counts.commit_us.max()];
    say(subject, format_args!("commits: p50 {} us, p99 {} us", commit_us[0], commit_us[1]));
    let found = Found {
        subject,
        groups: groups.len(),
        members: fleet.members.len(),
        offsets,
        rss_bytes: [started, with_offsets, with_members, broker.rss(), 0],
        join_s,
        heartbeats_per_s,
        heartbeat_cpu_share,
        commits_per_s: counts.commits as f64 / spent,
        commits_refused: counts.commits_refused,
        commit_cpu_share,
        commit_us,
        first_answer_s: 0.0,
        recovered_s: 0.0,
        rejoined: 0,
    };
    Ok((fleet, found))
}

/// kill -9 and back.
fn after(place: &Place, broker: Broker, mut fleet: Fleet, mut found: Found) -> Result<Found, String> {
    let subject = broker.subject().name();
    let text = |error: std::io::Error| error.to_string();
    let groups: Vec<String> = fleet.members.chunks(MEMBERS).map(|members| members[0].group.clone()).collect();
    let broker = broker.kill_and_restart()?;
    let offsets = Asking::connect(place.port).and_then(|mut asking| asking.all_offsets(&groups)).map_err(text)?;
    found.recovered_s = broker.started.elapsed().as_secs_f64();
    found.first_answer_s = broker.start_up.as_secs_f64();
    if offsets != found.offsets {
        return Err(format!("{subject}: {offsets} offsets are there after kill -9, {} were committed", found.offsets));
    }
    let rejoins = |fleet: &Fleet| fleet.members.iter().map(|member| member.rejoins).collect::<Vec<_>>();
    let earlier = rejoins(&fleet);
    fleet.reconnect(Duration::from_secs(3))?;
    // Long enough for a heartbeat of everybody, and for those that have to join again.
    fleet.run(Instant::now() + Duration::from_secs(6), |_| false)?;
    let total = fleet.members.len();
    if !fleet.run(Instant::now() + JOIN_MAX, |fleet| fleet.inside() == total)? {
        return Err(format!("{subject}: only {} members are back", fleet.inside()));
    }
    found.rejoined = rejoins(&fleet).iter().zip(&earlier).filter(|(now, earlier)| now > earlier).count();
    found.rss_bytes[4] = broker.rss();
    say(subject, format_args!("all groups answer {:.2} s after the start", found.recovered_s));
    Ok(found)
}

fn print(found: &[Found]) -> Result<(), String> {
    let mut header = vec!["figure"];
    header.extend(found.iter().map(|found| found.subject));
    type Cell = fn(&Found) -> String;
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let rows: [(&str, Cell); 11] = [
        ("groups / members / offsets", |f| format!("{} / {} / {}", f.groups, f.members, f.offsets)),
        ("all members in, s", |f| format!("{:.1}", f.join_s)),
        ("heartbeats/s", |f| format!("{:.0}", f.heartbeats_per_s)),
        ("CPU of heartbeats, % of a core", |f| format!("{:.1}", f.heartbeat_cpu_share * 100.0)),
        ("CPU of a heartbeat, us", |f| format!("{:.1}", f.us_per_heartbeat())),
        ("commits/s (10 partitions each), beside them", |f| format!("{:.0}", f.commits_per_s)),
        ("CPU of both, % of a core", |f| format!("{:.1}", f.commit_cpu_share * 100.0)),
        ("commit p50 / p99 / p99.9 / most, ms", |f| {
            f.commit_us.map(|us| format!("{:.2}", us as f64 / 1e3)).join(" / ")
        }),
        ("kill -9: first answer, s", |f| format!("{:.2}", f.first_answer_s)),
        ("kill -9: all groups answer, s", |f| format!("{:.2}", f.recovered_s)),
        ("members that had to join again", |f| f.rejoined.to_string()),
    ];
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, cell)| std::iter::once((*name).to_owned()).chain(found.iter().map(cell)).collect())
        .collect();
    for (at, when) in
        ["started", "with the offsets", "with the members", "after the commits", "after kill -9"].iter().enumerate()
    {
        let row = found.iter().map(|found| mib(found.rss_bytes[at]));
        cells.push(std::iter::once(format!("memory {when}, MiB")).chain(row).collect());
    }
    println!("{}", report::table(&header, cells));
    println!("kept in {}", report::keep("groups", found)?);
    Ok(())
}
