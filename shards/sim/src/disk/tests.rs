//! The disk against its own contract, with faults off and on.

use super::*;

fn disk(seed: u64) -> Disk {
    Disk::new(Rng::new(seed), DiskFaults::default())
}

fn run(disk: &mut Disk, op: DiskOp) -> Result<DiskOutput, DiskError> {
    let (ticket, _) = disk.begin(op);
    match disk.end(ticket) {
        Ended::Done(result) => result,
        Ended::Crash => panic!("no crash was asked for"),
    }
}

fn open(disk: &mut Disk, path: &str, direct: bool) -> FileHandle {
    match run(disk, DiskOp::Open { path: path.into(), create: true, direct }) {
        Ok(DiskOutput::Opened { file, .. }) => file,
        other => panic!("{other:?}"),
    }
}

fn block(byte: u8) -> Bytes {
    aligned_copy(&[byte; 4096])
}

fn read(disk: &mut Disk, file: &FileHandle, offset: u64, len: u64) -> Vec<u8> {
    match run(disk, DiskOp::Read { file: file.clone(), offset, len, piece: DiskOp::WHOLE }) {
        Ok(DiskOutput::Data(data)) => data.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn entries(disk: &mut Disk, path: &str) -> Vec<(String, u64, bool)> {
    match run(disk, DiskOp::List { path: path.into() }) {
        Ok(DiskOutput::Entries(list)) => list.into_iter().map(|e| (e.name, e.len, e.is_dir)).collect(),
        other => panic!("{other:?}"),
    }
}

/// A creation that a kill cut off: the file may be there and then be gone with the power, until it is opened with `create` again.
#[test]
fn a_name_is_durable_when_its_creation_has_ended() {
    let (mut gone, mut written) = (0, 0);
    for seed in 0..64 {
        let disk = &mut disk(seed);
        disk.begin(DiskOp::Open { path: "a".into(), create: true, direct: false });
        disk.crash(CrashKind::Process);
        if disk.content("a").is_none() {
            continue;
        }
        if seed % 2 == 0 {
            open(disk, "a", false);
        } else {
            let file = match run(disk, DiskOp::Open { path: "a".into(), create: false, direct: false }) {
                Ok(DiskOutput::Opened { file, .. }) => file,
                other => panic!("{other:?}"),
            };
            let write = DiskOp::Write { file, offset: 0, data: block(1), dsync: true };
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.begin(write))).is_err();
            assert!(refused, "seed {seed}: a write to a file whose name may go");
            written += 1;
        }
        disk.crash(CrashKind::Power);
        let there = disk.content("a").is_some();
        assert!(there || seed % 2 == 1, "seed {seed}");
        gone += usize::from(!there);
    }
    assert!(gone > 0 && written > gone, "{gone} of {written}");
}

#[test]
fn files_and_folders() {
    let disk = &mut disk(1);
    let file = open(disk, "a/b/one", true);
    run(disk, DiskOp::Write { file: file.clone(), offset: 4096, data: block(7), dsync: true }).unwrap();
    assert_eq!(read(disk, &file, 0, 12288), [vec![0; 4096], vec![7; 4096]].concat(), "short only at the end");
    run(disk, DiskOp::ReplaceFile { path: "a/two".into(), data: Bytes::from_static(b"xyz") }).unwrap();
    assert_eq!(entries(disk, "a"), [("b".into(), 0, true), ("two".into(), 3, false)]);
    assert_eq!(entries(disk, ""), [("a".into(), 0, true)]);
    assert_eq!(entries(disk, "nowhere"), []);
    run(disk, DiskOp::Truncate { file: file.clone(), len: 5000 }).unwrap();
    assert_eq!(entries(disk, "a/b"), [("one".into(), 5000, false)]);
    run(disk, DiskOp::Remove { path: "a/b".into() }).unwrap();
    run(disk, DiskOp::Remove { path: "a/b".into() }).unwrap();
    assert_eq!(read(disk, &file, 4096, 4096), vec![7; 904], "a removed file lives while it is open");
    drop(file);
    run(disk, DiskOp::Remove { path: "a".into() }).unwrap();
    assert_eq!((disk.used_bytes(), disk.paths().count()), (0, 0));
    let missing = run(disk, DiskOp::ReadFile { path: "a/two".into(), bytes_max: 10 });
    assert_eq!(missing.unwrap_err().kind, DiskErrorKind::NotFound);
    run(disk, DiskOp::ReplaceFile { path: "big".into(), data: Bytes::from(vec![1; 11]) }).unwrap();
    let large = run(disk, DiskOp::ReadFile { path: "big".into(), bytes_max: 10 });
    assert_eq!(large.unwrap_err().kind, DiskErrorKind::TooLarge);
}

#[test]
#[should_panic(expected = "is not aligned")]
fn misaligned_direct_write() {
    let disk = &mut disk(1);
    let file = open(disk, "f", true);
    let _ = run(disk, DiskOp::Write { file, offset: 512, data: block(1), dsync: true });
}

#[test]
#[should_panic(expected = "earlier life")]
fn a_handle_does_not_outlive_the_node() {
    let disk = &mut disk(1);
    let file = open(disk, "f", true);
    disk.crash(CrashKind::Process);
    let _ = run(disk, DiskOp::Sync { file });
}

#[test]
fn durable_operations_survive_a_loss_of_power() {
    for seed in 0..50 {
        let disk = &mut disk(seed);
        let file = open(disk, "d/f", true);
        run(disk, DiskOp::WriteZeros { file: file.clone(), offset: 0, len: 8192 }).unwrap();
        run(disk, DiskOp::Write { file: file.clone(), offset: 0, data: block(1), dsync: true }).unwrap();
        run(disk, DiskOp::Write { file: file.clone(), offset: 4096, data: block(2), dsync: false }).unwrap();
        run(disk, DiskOp::Sync { file }).unwrap();
        run(disk, DiskOp::ReplaceFile { path: "d/r".into(), data: Bytes::from_static(b"new") }).unwrap();
        open(disk, "d/created", false);
        disk.crash(CrashKind::Power);
        assert_eq!(disk.content("d/f").unwrap(), [[1; 4096], [2; 4096]].concat());
        assert_eq!(disk.content("d/r").unwrap(), b"new");
        assert!(disk.content("d/created").is_some());
    }
}

#[test]
fn replacement_is_all_or_nothing() {
    let (mut olds, mut news) = (0, 0);
    for seed in 0..50 {
        let disk = &mut disk(seed);
        run(disk, DiskOp::ReplaceFile { path: "r".into(), data: Bytes::from(vec![1; 5000]) }).unwrap();
        disk.begin(DiskOp::ReplaceFile { path: "r".into(), data: Bytes::from(vec![2; 3000]) });
        disk.crash(CrashKind::Power);
        match disk.content("r").unwrap() {
            old if old == vec![1; 5000] => olds += 1,
            new if new == vec![2; 3000] => news += 1,
            _ => panic!("seed {seed}: neither old nor new"),
        }
    }
    assert!(olds > 0 && news > 0);
}

#[test]
fn a_killed_process_loses_nothing_that_ended() {
    for seed in 0..50 {
        let disk = &mut disk(seed);
        let file = open(disk, "f", true);
        run(disk, DiskOp::Write { file, offset: 0, data: block(1), dsync: false }).unwrap();
        disk.crash(CrashKind::Process);
        assert_eq!(disk.content("f").unwrap(), [1; 4096]);
    }
}

#[test]
fn crash_at_each_phase() {
    for seed in 0..50 {
        for (phase, before, after) in
            [(CrashPhase::Before, true, false), (CrashPhase::Middle, true, true), (CrashPhase::After, false, true)]
        {
            let disk = &mut disk(seed);
            run(disk, DiskOp::ReplaceFile { path: "r".into(), data: Bytes::from_static(b"1") }).unwrap();
            disk.crash_at(2, phase);
            let (ticket, _) = disk.begin(DiskOp::ReplaceFile { path: "r".into(), data: Bytes::from_static(b"2") });
            assert!(matches!(disk.end(ticket), Ended::Crash));
            disk.crash(CrashKind::Power);
            match disk.content("r").unwrap() {
                b"1" => assert!(before),
                b"2" => assert!(after),
                _ => panic!(),
            }
        }
    }
}

#[test]
fn space_runs_out_and_comes_back() {
    let disk = &mut disk(1);
    disk.faults.capacity_bytes = 8192;
    let file = open(disk, "f", true);
    let too_much = run(disk, DiskOp::Preallocate { file: file.clone(), offset: 0, len: 1 << 20, grow: true });
    assert_eq!(too_much.unwrap_err().kind, DiskErrorKind::NoSpace);
    assert_eq!(disk.free_bytes(), 8192, "a reservation that does not fit is not made");
    run(disk, DiskOp::Preallocate { file: file.clone(), offset: 0, len: 8192, grow: true }).unwrap();
    assert_eq!(disk.free_bytes(), 0);
    run(disk, DiskOp::Write { file: file.clone(), offset: 4096, data: block(1), dsync: true }).unwrap();
    let full = run(disk, DiskOp::Write { file: file.clone(), offset: 8192, data: block(1), dsync: true });
    assert_eq!(full.unwrap_err().kind, DiskErrorKind::NoSpace);
    run(disk, DiskOp::Truncate { file, len: 0 }).unwrap();
    assert_eq!(disk.free_bytes(), 8192);
}

#[test]
fn a_buffered_read_over_a_write_under_way_is_a_mixture() {
    let mut mixed = false;
    for seed in 0..20 {
        let disk = &mut disk(seed);
        let direct = open(disk, "f", true);
        let buffered = open(disk, "f", false);
        run(disk, DiskOp::Write { file: direct.clone(), offset: 0, data: block(1), dsync: true }).unwrap();
        disk.begin(DiskOp::Write { file: direct, offset: 0, data: block(2), dsync: true });
        let seen = read(disk, &buffered, 0, 4096);
        mixed |= seen.contains(&1) && seen.contains(&2);
    }
    assert!(mixed);
}

#[test]
fn damage_changes_the_kind_of_file_asked_for() {
    let disk = &mut disk(3);
    for path in ["journal/g1/s0/checkpoint-a", "journal/g1/s0/checkpoint-b", "partitions/x-0/00000000000000000000.log"]
    {
        run(disk, DiskOp::ReplaceFile { path: path.into(), data: Bytes::from(vec![5; 3000]) }).unwrap();
    }
    let metadata = open(disk, "metadata/log", false);
    for i in 0..4 {
        let (file, data) = (metadata.clone(), Bytes::from(vec![6; 100]));
        run(disk, DiskOp::Write { file, offset: i * 100, data, dsync: true }).unwrap();
    }
    let journal = open(disk, "journal/g1/s0/j0", true);
    for i in 0..20 {
        let (file, data) = (journal.clone(), block(i as u8 + 1));
        run(disk, DiskOp::Write { file, offset: i * 4096, data, dsync: true }).unwrap();
    }
    for kind in [FileKind::Journal, FileKind::Checkpoint, FileKind::Metadata, FileKind::Segment] {
        let injected = disk.damage(kind, false).unwrap();
        assert_eq!(FileKind::of(&injected.path), kind);
        assert!(kind != FileKind::Metadata || injected.offset < 200);
        assert!(kind != FileKind::Journal || (injected.offset < 8 * 4096 && !injected.recent));
    }
    assert!(disk.damage(FileKind::Index, true).is_none());
}
