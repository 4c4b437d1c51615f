//! Standard output for commands: buffered, and a reader that went away (`| head`) ends the command quietly.

use std::io::{self, BufWriter, StdoutLock, Write};

use crate::problem::{Outcome, Problem};

/// Standard output of a command.
#[derive(Debug)]
pub(super) struct Output {
    to: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes standard output for this command.
    pub(super) fn new() -> Output {
        Output { to: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.to.write_all(bytes).map_err(problem)
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: impl AsRef<str>) -> Outcome {
        self.bytes(line.as_ref().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &serde_json::Value) -> Outcome {
        self.line(value.to_string())
    }

    /// Writes columns, each as wide as its widest cell, the last one as it is.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Outcome {
        let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        for row in std::iter::once(&head).chain(rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Hands everything to the reader now.
    pub(super) fn flush(&mut self) -> Outcome {
        self.to.flush().map_err(problem)
    }
}

fn problem(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Problem::output_closed();
    }
    Problem::new("cannot write to standard output").because(error)
}
