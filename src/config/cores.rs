//! `cores`: from a number or a list to one CPU for each shard.

use std::collections::BTreeSet;

/// The CPUs that this process may run on, in order.
pub fn allowed() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// One CPU per shard. `all` takes every allowed one, a number the first so many, a list (`0,2-5`) exactly those. A CPU may carry several
/// shards only when `oversubscribe` is on.
pub fn choose(text: &str, oversubscribe: bool, allowed: &[usize]) -> Result<Vec<usize>, String> {
    let text = text.trim();
    if text.is_empty() || text == "all" {
        return Ok(allowed.to_vec());
    }
    if let Ok(count) = text.parse::<usize>() {
        if count == 0 {
            return Err("there has to be at least one shard".to_owned());
        }
        if count > usize::from(u16::MAX) {
            return Err(format!("{count} shards are too many; at most {}", u16::MAX));
        }
        if count > allowed.len() && !oversubscribe {
            return Err(format!(
                "{count} shards want {count} CPUs and this process may use {}; start with --oversubscribe to share CPUs all the same",
                allowed.len()
            ));
        }
        return Ok((0..count).map(|shard| allowed[shard % allowed.len()]).collect());
    }
    let cpus = list(text)?;
    if let Some(stray) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        let first = allowed.first().copied().unwrap_or(0);
        let last = allowed.last().copied().unwrap_or(0);
        return Err(format!(
            "this process may not run on CPU {stray}; it has {} CPUs between {first} and {last}",
            allowed.len()
        ));
    }
    let distinct: BTreeSet<usize> = cpus.iter().copied().collect();
    if distinct.len() < cpus.len() && !oversubscribe {
        return Err("a CPU is listed twice; start with --oversubscribe to let several shards share one".to_owned());
    }
    Ok(cpus)
}

fn list(text: &str) -> Result<Vec<usize>, String> {
    let bad = |item: &str| {
        format!(
            "`{item}` is neither a CPU number nor a range such as 2-5 (a plain number alone is how many, not which: write 3-3 for CPU 3)"
        )
    };
    let mut cpus = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('-') {
            None => cpus.push(item.parse().map_err(|_| bad(item))?),
            Some((from, to)) => {
                let (from, to): (usize, usize) =
                    (from.trim().parse().map_err(|_| bad(item))?, to.trim().parse().map_err(|_| bad(item))?);
                if from > to || to - from > usize::from(u16::MAX) {
                    return Err(bad(item));
                }
                cpus.extend(from..=to);
            }
        }
    }
    if cpus.is_empty() { Err(bad(text)) } else { Ok(cpus) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, bool, Result<&'a [usize], &'a str>);

    #[test]
    fn numbers_and_lists() {
        let allowed = [0, 1, 4, 5];
        let rows: &[Row<'_>] = &[
            ("all", false, Ok(&[0, 1, 4, 5])),
            ("2", false, Ok(&[0, 1])),
            ("6", true, Ok(&[0, 1, 4, 5, 0, 1])),
            ("6", false, Err("--oversubscribe")),
            ("0", false, Err("at least one")),
            ("0,4-5", false, Ok(&[0, 4, 5])),
            ("5-5", false, Ok(&[5])),
            ("1,", false, Ok(&[1])),
            ("1,1", false, Err("listed twice")),
            ("1,1", true, Ok(&[1, 1])),
            ("2,3", false, Err("may not run on CPU 2")),
            ("0-99999999999", false, Err("neither a CPU number")),
            ("5-4", false, Err("neither a CPU number")),
            ("two", false, Err("neither a CPU number")),
        ];
        for (text, oversubscribe, expect) in rows {
            match (choose(text, *oversubscribe, &allowed), expect) {
                (Ok(got), Ok(want)) => assert_eq!(&got, want, "{text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?}, wanted {want:?}"),
            }
        }
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!allowed().is_empty());
    }
}
