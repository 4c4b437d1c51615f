//! The runs of a comparison, kept in a file as they end: one JSON object a line, the first line says of which plan. An interrupted
//! comparison goes on from there.
//!
//! A line that a kill cut off is dropped; every other line that cannot be read is an error, because a figure would be missing silently.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::quiet::Neighbours;
use crate::outcome::Outcome;

/// The name of the file in the folder of a comparison.
pub const FILE: &str = "runs.jsonl";

/// What was to be measured: runs of two different plans must not meet in one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heading {
    /// Machine, kernel.
    pub machine: String,
    /// Commit of this tree.
    pub commit: String,
    /// When it began, in seconds since 1970.
    pub unix_seconds: u64,
    /// The command line.
    pub command: String,
    /// Short runs that show that everything works: no figures to quote.
    pub quick: bool,
    /// Turns of each row.
    pub turns: usize,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the subjects.
    pub subjects: Vec<String>,
    /// Seconds of a run that count; none: as the workload says.
    pub seconds: Option<f64>,
}

impl Heading {
    /// May runs made under `other` stand beside those made under this?
    pub fn fits(&self, other: &Heading) -> Result<(), String> {
        let same = |what: &str, left: String, right: String| {
            if left == right { Ok(()) } else { Err(format!("its {what} is {left}, now it is {right}")) }
        };
        same("machine", self.machine.clone(), other.machine.clone())?;
        same("commit", self.commit.clone(), other.commit.clone())?;
        same("length (quick)", self.quick.to_string(), other.quick.to_string())?;
        same("length (seconds)", format!("{:?}", self.seconds), format!("{:?}", other.seconds))
    }
}

/// One run of one row by one subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Row.
    pub row: String,
    /// Subject.
    pub subject: String,
    /// Turn, from 1.
    pub turn: usize,
    /// When it ended, in seconds since 1970.
    pub unix_seconds: u64,
    /// Figures by their key.
    pub figures: Vec<(String, f64)>,
    /// What the load generator said, when the row is one of its workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What others did meanwhile.
    pub neighbours: Neighbours,
    /// What else a reader must know, such as that the client was the limit.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Run {
    /// A figure.
    pub fn figure(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|(name, _)| name == key).map(|&(_, value)| value)
    }
}

/// All runs of a comparison, in memory and in the file.
pub struct Book {
    /// Of which plan.
    pub heading: Heading,
    /// In the order in which they ended.
    pub runs: Vec<Run>,
    folder: PathBuf,
    file: File,
}

impl Book {
    /// A new one in `folder`, which is made.
    pub fn begin(folder: &Path, heading: Heading) -> Result<Book, String> {
        let told = |error: std::io::Error| format!("{}: {error}", folder.join(FILE).display());
        fs::create_dir_all(folder).map_err(told)?;
        let file = OpenOptions::new().create_new(true).append(true).open(folder.join(FILE)).map_err(told)?;
        let mut book = Book { heading, runs: Vec::new(), folder: folder.to_owned(), file };
        let line = serde_json::to_string(&book.heading).map_err(|error| error.to_string())?;
        book.write(&line)?;
        Ok(book)
    }

    /// Goes on with the one in `folder`, if it is of the same plan. What failed there is tried again.
    pub fn resume(folder: &Path, heading: &Heading) -> Result<Book, String> {
        let (old, mut runs) = read(folder)?;
        old.fits(heading).map_err(|problem| format!("{} cannot go on: {problem}", folder.display()))?;
        runs.retain(|run| run.failure.is_none());
        // Written anew: a line that was cut off must not get the next one appended to it.
        let mut merged = old;
        merged.turns = merged.turns.max(heading.turns);
        for (all, new) in [(&mut merged.rows, &heading.rows), (&mut merged.subjects, &heading.subjects)] {
            all.extend(new.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        }
        let mut text = serde_json::to_string(&merged).map_err(|error| error.to_string())? + "\n";
        for run in &runs {
            text += &(serde_json::to_string(run).map_err(|error| error.to_string())? + "\n");
        }
        let path = folder.join(FILE);
        let part = folder.join(format!("{FILE}.part"));
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(|error| error.to_string())?;
        let file =
            OpenOptions::new().append(true).open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Book { heading: merged, runs, folder: folder.to_owned(), file })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Is this run there already?
    pub fn has(&self, row: &str, subject: &str, turn: usize) -> bool {
        self.runs.iter().any(|run| run.row == row && run.subject == subject && run.turn == turn)
    }

    /// Keeps a run: when this returns, the kernel has the line.
    pub fn put(&mut self, run: Run) -> Result<(), String> {
        let line = serde_json::to_string(&run).map_err(|error| error.to_string())?;
        self.write(&line)?;
        self.runs.push(run);
        Ok(())
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        self.file
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("{}: {error}", self.folder.join(FILE).display()))
    }
}

/// Reads the file of a comparison.
pub fn read(folder: &Path) -> Result<(Heading, Vec<Run>), String> {
    let path = folder.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let told = |at: usize, error: serde_json::Error| format!("{}, line {}: {error}", path.display(), at + 1);
    let mut lines = text.split_inclusive('\n').enumerate().filter(|(_, line)| line.ends_with('\n'));
    let (at, first) = lines.next().ok_or_else(|| format!("{} is empty", path.display()))?;
    let heading = serde_json::from_str(first).map_err(|error| told(at, error))?;
    let runs = lines.map(|(at, line)| serde_json::from_str(line).map_err(|error| told(at, error)));
    Ok((heading, runs.collect::<Result<_, _>>()?))
}

/// The newest comparison in `results`.
pub fn newest(results: &Path) -> Result<PathBuf, String> {
    let folders = fs::read_dir(results).map_err(|error| format!("{}: {error}", results.display()))?;
    let begun = |folder: &PathBuf| read(folder).map_or(0, |(heading, _)| heading.unix_seconds);
    folders
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(FILE).exists())
        .max_by_key(begun)
        .ok_or_else(|| format!("no comparison in {}", results.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(turns: usize) -> Heading {
        Heading {
            machine: "a CPU".to_owned(),
            commit: "abc".to_owned(),
            unix_seconds: 7,
            command: "compare".to_owned(),
            quick: false,
            turns,
            rows: vec!["stream".to_owned()],
            subjects: vec!["floe".to_owned(), "kafka".to_owned()],
            seconds: None,
        }
    }

    fn run(subject: &str, turn: usize, value: f64) -> Run {
        Run {
            row: "stream".to_owned(),
            subject: subject.to_owned(),
            turn,
            unix_seconds: 8,
            figures: vec![("mb_s".to_owned(), value)],
            outcome: None,
            neighbours: Neighbours::default(),
            remarks: vec![],
            failure: None,
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("floe-bench-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn an_interrupted_comparison_goes_on() {
        let folder = folder("resume");
        let mut book = Book::begin(&folder, heading(1)).expect("begins");
        book.put(run("floe", 1, 5.0)).expect("kept");
        book.put(Run { failure: Some("broke".to_owned()), ..run("kafka", 1, 1.0) }).expect("kept");
        drop(book);
        // A kill in the middle of a line.
        let path = folder.join(FILE);
        let mut text = fs::read_to_string(&path).expect("there");
        text.push_str("{\"row\":\"stre");
        fs::write(&path, text).expect("written");

        let mut book = Book::resume(&folder, &heading(3)).expect("goes on");
        assert!(book.has("stream", "floe", 1), "what is done is not done again");
        assert!(!book.has("stream", "kafka", 1), "what failed is tried again");
        assert_eq!(book.heading.turns, 3);
        book.put(run("kafka", 1, 2.0)).expect("kept");
        drop(book);
        let (_, runs) = read(&folder).expect("every line is whole again");
        assert_eq!(runs.iter().map(|run| run.figure("mb_s")).collect::<Vec<_>>(), [Some(5.0), Some(2.0)]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn runs_of_different_plans_do_not_meet() {
        let folder = folder("fits");
        drop(Book::begin(&folder, heading(1)).expect("begins"));
        for (other, names) in [
            (Heading { commit: "def".to_owned(), ..heading(1) }, "commit"),
            (Heading { machine: "another".to_owned(), ..heading(1) }, "machine"),
            (Heading { quick: true, ..heading(1) }, "quick"),
            (Heading { seconds: Some(3.0), ..heading(1) }, "seconds"),
        ] {
            let problem = Book::resume(&folder, &other).err().expect("refused");
            assert!(problem.contains(names), "{problem}");
        }
        assert!(Book::begin(&folder, heading(1)).is_err(), "what is there is not overwritten");
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_damaged_line_is_an_error_and_not_a_missing_figure() {
        let folder = folder("damaged");
        let mut book = Book::begin(&folder, heading(1)).expect("begins");
        book.put(run("floe", 1, 5.0)).expect("kept");
        drop(book);
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).expect("there").replace("\"turn\":1", "\"turn\":x");
        fs::write(&path, text).expect("written");
        assert!(read(&folder).expect_err("refused").contains("line 2"));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
