//! The controller alone, over a disk in memory that fails at every operation in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{ConfigChange, ConfigOp, Resource};
use super::*;

/// What becomes of the operation at which the process is killed.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Nothing,
    /// Half of a write; of the others, which happen whole or not at all, nothing.
    Half,
    Whole,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// Operations that change something, so far.
    changes: usize,
    /// At which of them the process is killed.
    kill: Option<(usize, Cut)>,
    /// Replacing a file fails so.
    refuses: Option<DiskErrorKind>,
}

impl Disk {
    /// `None`: the process is dead.
    fn act(&mut self, what: DiskOp) -> Option<Result<DiskOutput, DiskError>> {
        let error = |kind| Err(DiskError { kind, message: "no".into() });
        let name = |file: &FileHandle| file.get::<String>().unwrap().clone();
        let mut half = false;
        let changes = matches!(
            what,
            DiskOp::Write { .. } | DiskOp::Truncate { .. } | DiskOp::ReplaceFile { .. } | DiskOp::Remove { .. }
        );
        let mut dies = false;
        if changes {
            self.changes += 1;
            if let Some((at, cut)) = self.kill.filter(|(at, _)| *at == self.changes) {
                dies = true;
                half = matches!(cut, Cut::Half) && matches!(what, DiskOp::Write { .. });
                if matches!(cut, Cut::Nothing) || (matches!(cut, Cut::Half) && !half) {
                    return None;
                }
                assert_eq!(at, self.changes);
            }
        }
        let result = match what {
            DiskOp::ReadFile { path, .. } => match self.files.get(&path) {
                Some(content) => Ok(DiskOutput::Data(content.clone().into())),
                None => error(DiskErrorKind::NotFound),
            },
            DiskOp::Open { path, .. } => {
                let len = self.files.entry(path.clone()).or_default().len() as u64;
                Ok(DiskOutput::Opened { file: FileHandle::new(path), len })
            }
            DiskOp::Read { file, .. } => Ok(DiskOutput::Data(self.files[&name(&file)].clone().into())),
            DiskOp::Write { file, offset, data, .. } => {
                let content = self.files.get_mut(&name(&file)).unwrap();
                assert_eq!(content.len() as u64, offset, "changes go to the end");
                content.extend_from_slice(&data[..if half { data.len() / 2 } else { data.len() }]);
                Ok(DiskOutput::Done)
            }
            DiskOp::Truncate { file, len } => {
                self.files.get_mut(&name(&file)).unwrap().truncate(len as usize);
                Ok(DiskOutput::Done)
            }
            DiskOp::ReplaceFile { path, data } => match self.refuses {
                Some(kind) => error(kind),
                None => {
                    self.files.insert(path, data.to_vec());
                    Ok(DiskOutput::Done)
                }
            },
            DiskOp::List { path } => {
                let folder = format!("{path}/");
                let names: BTreeSet<&str> =
                    self.files.keys().filter_map(|name| name.strip_prefix(&folder)?.split('/').next()).collect();
                let entry = |name: &str| crate::event::DirEntry { name: name.into(), len: 0, is_dir: true };
                Ok(DiskOutput::Entries(names.into_iter().map(entry).collect()))
            }
            DiskOp::Remove { path } => {
                self.files.retain(|name, _| !name.starts_with(&format!("{path}/")));
                Ok(DiskOutput::Done)
            }
            DiskOp::Sync { .. } => Ok(DiskOutput::Done),
            other => panic!("{other:?} is not for the metadata log"),
        };
        (!dies).then_some(result)
    }
}

/// A controller that runs until its disk kills it.
struct Run {
    controller: Controller,
    disk: Disk,
    shown: Option<Arc<Image>>,
    answers: Vec<ChangeDone>,
    fatal: Option<String>,
    dead: bool,
    warnings: usize,
}

impl Run {
    fn start(disk: Disk, log_bytes_min: u64) -> Run {
        let mut fx = Effects::new();
        let controller = Controller::start([5; 32], "cluster", log_bytes_min, &mut fx);
        let mut run = Run { controller, disk, shown: None, answers: Vec::new(), fatal: None, dead: false, warnings: 0 };
        run.go(fx);
        run
    }

    fn change(&mut self, change: Change) {
        let mut fx = Effects::new();
        self.controller.change(ShardId(0), 1, change, &mut fx);
        self.go(fx);
    }

    fn go(&mut self, fx: Effects) {
        let mut todo: VecDeque<Effect> = fx.into();
        loop {
            let mut fx = Effects::new();
            while let Some(told) = self.controller.told() {
                match told {
                    Told::Publish(image, _) => {
                        self.shown = Some(image);
                        self.controller.shown(&mut fx);
                    }
                    Told::Answer(_, _, done) => self.answers.push(done),
                }
            }
            todo.extend(fx);
            let Some(effect) = todo.pop_front() else { return };
            match effect {
                Effect::Disk { what, .. } => match self.disk.act(what) {
                    Some(result) => {
                        let mut fx = Effects::new();
                        self.controller.handle_disk(result, &mut fx);
                        todo.extend(fx);
                    }
                    None => {
                        self.dead = true;
                        return;
                    }
                },
                Effect::Fatal { message } => self.fatal = Some(message),
                Effect::Log { .. } => self.warnings += 1,
                other => panic!("{other:?}"),
            }
        }
    }

    fn image(&self) -> &Image {
        assert_eq!(self.fatal, None);
        self.shown.as_ref().expect("an image was shown")
    }
}

/// The n-th of a row of changes of all kinds.
fn change(n: usize, image: &Image) -> Change {
    let some = image.topics().next().map(|topic| topic.id);
    match (n % 5, some) {
        (1, Some(id)) => Change::Grow(vec![(id, image.topic_by_id(id).unwrap().partitions + 1)]),
        (2, Some(id)) => {
            let ops = vec![("retention.ms".to_owned(), ConfigOp::Set(n.to_string()))];
            let on_topic = ConfigChange { resource: Resource::Topic(id), replace: false, ops };
            let ops = vec![("log.retention.ms".to_owned(), ConfigOp::Set(n.to_string()))];
            Change::Configs(vec![on_topic, ConfigChange { resource: Resource::Cluster, replace: false, ops }])
        }
        (3, _) => Change::ProducerIds,
        (4, Some(id)) if n.is_multiple_of(2) => Change::Delete(vec![id]),
        _ => {
            let topic = |part: &str| NewTopic { name: format!("t{n}.{part}"), partitions: 2, configs: Values::new() };
            Change::Create(vec![topic("a"), topic("b")])
        }
    }
}

const CHANGES: usize = 40;
const LOG_BYTES_MIN: u64 = 300;

/// Makes changes until the end or death: every image that was answered, and how many.
fn work(run: &mut Run) -> Vec<Image> {
    let mut images = vec![run.shown.as_deref().cloned().unwrap_or_default()];
    for n in 0..CHANGES {
        if run.dead {
            break;
        }
        let next = change(n, run.image());
        let answered = run.answers.len();
        run.change(next);
        if run.answers.len() > answered {
            images.push(run.image().clone());
        }
    }
    images
}

#[test]
fn the_log_stays_short_and_nothing_is_lost() {
    let mut run = Run::start(Disk::default(), LOG_BYTES_MIN);
    let mut longest = 0;
    for n in 0..2000 {
        let next = change(n, run.image());
        run.change(next);
        longest = longest.max(run.disk.files["metadata/log"].len() as u64);
    }
    let snapshot = run.disk.files["metadata/snapshot"].len() as u64;
    assert!(longest < 3 * snapshot, "a log of {longest} bytes over a snapshot of {snapshot}");
    let again = Run::start(run.disk.clone(), LOG_BYTES_MIN);
    assert_eq!(again.image(), run.image());
    assert_eq!(again.image().version, run.image().version);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_answered() {
    let mut snapshots = 0;
    for kill in 1.. {
        let mut reached = false;
        for cut in [Cut::Nothing, Cut::Half, Cut::Whole] {
            let mut run = Run::start(Disk { kill: Some((kill, cut)), ..Disk::default() }, LOG_BYTES_MIN);
            let images = work(&mut run);
            reached |= run.dead;
            snapshots += usize::from(run.disk.files.contains_key(snapshot::PATH));
            let known = images.last().unwrap();
            // The start after it is killed as well, wherever it does something.
            for again in 0.. {
                let disk = Disk { kill: (again > 0).then_some((again, cut)), changes: 0, ..run.disk.clone() };
                let dying = Run::start(disk, LOG_BYTES_MIN);
                let disk = Disk { kill: None, ..dying.disk.clone() };
                let mut last = Run::start(disk, LOG_BYTES_MIN);
                let came = last.image().clone();
                let one_more = came.version == known.version + 1;
                assert!(&came == known || one_more, "killed at {kill} {cut:?}, then at {again}: {came:?} of {known:?}");
                last.change(Change::ProducerIds);
                let after = last.image().clone();
                assert_eq!(after.version, came.version + 1);
                assert_eq!(Run::start(last.disk, LOG_BYTES_MIN).image(), &after, "{kill} {cut:?} {again}");
                if again > 0 && !dying.dead {
                    break;
                }
            }
        }
        if !reached {
            assert!(kill > CHANGES && snapshots > 0, "only {kill} operations, {snapshots} snapshots");
            return;
        }
    }
}

#[test]
fn files_of_deleted_topics_go_even_when_only_the_snapshot_knows() {
    let mut run = Run::start(Disk::default(), LOG_BYTES_MIN);
    let topic = NewTopic { name: "gone".into(), partitions: 1, configs: Values::new() };
    run.change(Change::Create(vec![topic]));
    let id = run.image().topic("gone").unwrap().id;
    run.change(Change::Delete(vec![id]));
    while !run.disk.files.contains_key(snapshot::PATH) {
        run.change(Change::ProducerIds);
    }
    assert!(run.disk.files["metadata/log"].len() < 100, "the log was cut");
    let left = format!("partitions/{}-0/0.log", id.to_hex());
    let other = format!("partitions/{}-0/0.log", TopicId([8; 16]).to_hex());
    run.disk.files.insert(left.clone(), Vec::new());
    run.disk.files.insert(other.clone(), Vec::new());
    let again = Run::start(run.disk, LOG_BYTES_MIN);
    assert!(!again.disk.files.contains_key(&left) && again.disk.files.contains_key(&other));
}

#[test]
fn what_is_damaged_or_missing_is_said() {
    let mut run = Run::start(Disk::default(), LOG_BYTES_MIN);
    work(&mut run);
    assert!(run.disk.files[snapshot::PATH].len() > 100 && run.disk.files[PATH].len() > 20);
    let fatal = |change: &dyn Fn(&mut Disk)| {
        let mut disk = run.disk.clone();
        change(&mut disk);
        Run::start(disk, LOG_BYTES_MIN).fatal
    };
    assert_eq!(fatal(&|_| {}), None);
    let flipped = fatal(&|disk| disk.files.get_mut(snapshot::PATH).unwrap()[50] ^= 1).unwrap();
    assert!(flipped.contains("metadata/snapshot cannot be used: it is damaged"), "{flipped}");
    let missing = fatal(&|disk| drop(disk.files.remove(snapshot::PATH))).unwrap();
    assert!(missing.contains("changes are missing"), "{missing}");
}

#[test]
fn a_disk_without_room_for_a_snapshot_is_no_reason_to_stop() {
    for kind in [DiskErrorKind::NoSpace, DiskErrorKind::Io] {
        let mut run = Run::start(Disk { refuses: Some(kind), ..Disk::default() }, LOG_BYTES_MIN);
        work(&mut run);
        assert_eq!(run.answers.len(), CHANGES);
        assert!((1..10).contains(&run.warnings), "{} warnings", run.warnings);
        run.disk.refuses = None;
        let mut again = Run::start(run.disk.clone(), LOG_BYTES_MIN);
        assert_eq!(again.image(), run.image());
        again.change(Change::ProducerIds);
        again.change(Change::ProducerIds);
        assert!(again.disk.files.contains_key(snapshot::PATH), "as soon as it can be");
    }
}

#[test]
fn a_log_that_was_not_cut_goes_on_behind_what_the_snapshot_has() {
    // Killed between the snapshot and the cut, then without room to write the snapshot again.
    let kill = (1..).find(|kill| {
        let mut run = Run::start(Disk { kill: Some((*kill, Cut::Whole)), ..Disk::default() }, LOG_BYTES_MIN);
        work(&mut run);
        run.disk.files.contains_key(snapshot::PATH)
    });
    let mut run = Run::start(Disk { kill: kill.map(|at| (at, Cut::Whole)), ..Disk::default() }, LOG_BYTES_MIN);
    let known = work(&mut run).pop().unwrap();
    let disk = Disk { kill: None, refuses: Some(DiskErrorKind::NoSpace), ..run.disk };
    let before = disk.files[PATH].len();
    let mut run = Run::start(disk, LOG_BYTES_MIN);
    assert_eq!(run.image(), &known);
    run.change(Change::ProducerIds);
    assert!(run.disk.files[PATH].len() > before, "appended");
    assert_eq!(Run::start(run.disk.clone(), LOG_BYTES_MIN).image(), run.image());
}
