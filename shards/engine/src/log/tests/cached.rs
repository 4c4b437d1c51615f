//! Which commits go through the page cache, and that nothing depends on it.

use super::*;

/// The writes that the log asks for now, as (through the page cache, durable); they and all else are carried out.
fn writes(node: &mut Node) -> Vec<(bool, bool)> {
    let mut found = Vec::new();
    loop {
        node.log.end_of_round(node.now, &mut node.fx);
        if node.fx.is_empty() {
            return found;
        }
        for effect in std::mem::take(&mut node.fx) {
            let Effect::Disk { op, what } = effect else { continue };
            let result = match &what {
                DiskOp::Open { path, direct: false, .. } if path.contains("/j") => {
                    Ok(DiskOutput::Opened { file: FileHandle::new(Cached(path.clone())), len: 0 })
                }
                DiskOp::Write { file, offset, data, dsync } => {
                    let cached = file.get::<Cached>().map(|cached| cached.0.clone());
                    found.push((cached.is_some(), *dsync));
                    let path = cached.unwrap_or_else(|| file.get::<String>().expect("ours").clone());
                    node.disk.write(&path, *offset, data);
                    Ok(DiskOutput::Done)
                }
                other => node.disk.carry_out(other),
            };
            node.log.handle_disk(node.now, op, result, &mut node.fx);
        }
    }
}

/// The second handle of a journal file.
struct Cached(String);

#[test]
fn small_commits_that_need_not_be_durable_do_not_wait_for_the_device() {
    for (tier, below, above) in
        [(Tier::Written, (true, false), (false, false)), (Tier::Flushed, (false, true), (false, true))]
    {
        let settings =
            LogSettings { commit_bytes_max: 1 << 20, journal_file_bytes: 1 << 20, journal_bytes: 8 << 20, ..small() };
        let config = LogConfig { tier, ..LogConfig::default() };
        let mut node = Node::start_with(settings.clone(), Disk::default(), 0, 1, 1, config);
        node.append(0, 1, 100).unwrap();
        assert_eq!(writes(&mut node), [(false, tier == Tier::Flushed)], "{tier:?}: the first asks for the handle");
        node.append(0, 1, 100).unwrap();
        assert_eq!(writes(&mut node), [below], "{tier:?}");
        node.append(0, 1, 100_000).unwrap();
        assert_eq!(writes(&mut node), [above], "{tier:?}: copying it would cost more");
        let mut again = Node::start_with(settings, node.disk, 0, 1, 1, LogConfig { tier, ..LogConfig::default() });
        assert_eq!(again.read_all(0, 0).unwrap().len(), 3, "{tier:?}: both ways lead to one file");
    }
}

#[test]
fn without_the_second_handle_commits_are_written_directly() {
    let mut node = Node::start(Disk::default(), 0, 1, 1, LogConfig { tier: Tier::Written, ..LogConfig::default() });
    node.fault = |what| match what {
        DiskOp::Open { path, direct: false, .. } if path.contains("/j") => Some(Err(DiskErrorKind::Io)),
        _ => Some(Ok(())),
    };
    for _ in 0..3 {
        node.append(0, 1, 100).unwrap();
        node.run();
    }
    assert_eq!(node.p(0).high_watermark(), 3);
    let mut again = Node::start(node.disk, 0, 1, 1, LogConfig::default());
    assert_eq!(again.read_all(0, 0).unwrap().len(), 3);
}
