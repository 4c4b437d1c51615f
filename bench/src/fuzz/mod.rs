//! `bench fuzz`: feeds hostile bytes to everything that reads bytes it did not write, for as long as told.
//!
//! A target must not panic, and its memory at the peak must stay within a small multiple of its input. Every round follows from seed
//! and number alone; what fails is printed with the command that repeats it, and its input is kept.

mod mutate;
mod targets;
mod wire;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use self::mutate::Rng;

/// Counts what is allocated; the process's allocator, so that no path escapes the count.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory a target may use for each byte of its input: parsed forms are larger than packed ones.
const BYTES_PER_INPUT_BYTE: usize = 64;

/// Rounds between two looks at the clock.
const ROUNDS_PER_TURN: u64 = 256;

/// What is being run, for the panic hook: a release build aborts on panic, so this is the only chance to tell.
static CURRENT: Mutex<Option<(String, u64, u64)>> = Mutex::new(None);

/// Runs all targets, or the named one, in turns until `seconds` are over; or one `round` alone.
pub fn run(seconds: u64, seed: u64, target: Option<&str>, round: Option<u64>) -> Result<(), String> {
    let mut targets = targets::all();
    if let Some(name) = target {
        let known = targets.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
        targets.retain(|target| target.name == name);
        if targets.is_empty() {
            return Err(format!("no target `{name}`; there are: {known}"));
        }
    }
    tell_seed_on_panic();
    println!("seed {seed}; repeat with: bench fuzz --seed {seed}");
    let began = Instant::now();
    let mut rounds = 0;
    loop {
        for target in &targets {
            let span = round.map_or(rounds..rounds + ROUNDS_PER_TURN, |round| round..round + 1);
            for round in span {
                one(target, seed, round)?;
            }
        }
        rounds += ROUNDS_PER_TURN;
        if round.is_some() || began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    for target in &targets {
        println!("{:<10} {rounds} inputs, no panic, memory within its bound", target.name);
    }
    Ok(())
}

fn one(target: &targets::Target, seed: u64, round: u64) -> Result<(), String> {
    let mut rng = Rng::of_round(seed, round);
    let mut input = mutate::input(&mut rng, &target.corpus);
    // Without this, a checksum would turn almost every input away at the door.
    if rng.below(4) != 0 {
        (target.repair)(&mut input);
    }
    *CURRENT.lock().expect("held for a moment only") = Some((target.name.to_owned(), seed, round));
    let bound = target.bytes_flat + input.len() * BYTES_PER_INPUT_BYTE;
    let mut used = usize::MAX;
    // What other threads of this process allocate meanwhile is counted along: too much is what is so three times.
    for _ in 0..3 {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        (target.read)(&input);
        used = used.min(ALLOCATOR.peak_usage().saturating_sub(before));
        if used <= bound {
            break;
        }
    }
    if used > bound {
        let file = keep(target.name, seed, round, &input);
        return Err(format!(
            "{}: an input of {} bytes took {used} bytes of memory, {bound} allowed; kept in {file}\n{}",
            target.name,
            input.len(),
            repeat(target.name, seed, round)
        ));
    }
    Ok(())
}

fn repeat(target: &str, seed: u64, round: u64) -> String {
    format!("repeat with: bench fuzz --target {target} --seed {seed} --round {round}")
}

fn keep(target: &str, seed: u64, round: u64, input: &[u8]) -> String {
    let path = Path::new(".cache/fuzz").join(format!("{target}-{seed}-{round}.bin"));
    let _ = fs::create_dir_all(".cache/fuzz");
    let _ = fs::write(&path, input);
    path.display().to_string()
}

fn tell_seed_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        if let Ok(Some((target, seed, round))) = CURRENT.lock().map(|current| current.clone()) {
            eprintln!("{target} panicked; {}", repeat(&target, seed, round));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::run;

    /// A little of it in every test run, always the same.
    #[test]
    fn every_target_takes_hostile_bytes() {
        run(0, 1, None, None).unwrap();
    }
}
