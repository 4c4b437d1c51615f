//! What a person is told when something cannot go on: what is wrong, why, and what to do next. Node-wide.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of `floe`, the same for every command; `floe --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something failed: 1.
    Failure,
    /// The command line or the configuration is wrong; nothing was done: 2.
    Usage,
    /// Ended at once by a second signal, without a clean shutdown: 130.
    Interrupted,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Something that cannot go on, ready to be shown.
#[derive(Debug)]
pub struct Problem {
    what: String,
    causes: Vec<String>,
    next: Vec<String>,
    exit: Exit,
    quiet: bool,
}

/// What most functions around the engine give.
pub type Outcome<T = ()> = Result<T, Problem>;

impl Problem {
    /// Something failed while being done.
    pub fn new(what: impl Into<String>) -> Problem {
        Problem { what: what.into(), causes: Vec::new(), next: Vec::new(), exit: Exit::Failure, quiet: false }
    }

    /// The command line or the configuration asks for something that cannot be.
    pub fn usage(what: impl Into<String>) -> Problem {
        Problem { exit: Exit::Usage, ..Problem::new(what) }
    }

    /// Whoever reads our output has gone (`floe consume | head`): end without a word, as other filters do.
    pub fn output_closed() -> Problem {
        Problem { quiet: true, ..Problem::new("the output was closed") }
    }

    /// Adds why, with the whole chain of sources.
    pub fn because(mut self, error: impl std::error::Error) -> Problem {
        self.causes.push(error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// Adds why, in words.
    pub fn because_of(mut self, why: impl Into<String>) -> Problem {
        self.causes.push(why.into());
        self
    }

    /// Adds what the person can do; may be called several times.
    pub fn next(mut self, step: impl Into<String>) -> Problem {
        self.next.push(step.into());
        self
    }

    /// What is wrong and why, on one line.
    pub fn summary(&self) -> String {
        std::iter::once(&self.what).chain(&self.causes).cloned().collect::<Vec<_>>().join(": ")
    }

    /// What the person can do, on one line.
    pub fn steps(&self) -> String {
        self.next.join("; ")
    }

    /// How the process ends because of it.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether it is to be shown at all.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for cause in &self.causes {
            write!(f, "\n  because: {}", indented(cause))?;
        }
        for step in &self.next {
            write!(f, "\n  to do:   {}", indented(step))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// For errors that need no words of their own: what was tried, and why it failed.
pub trait Tried<T> {
    /// Makes the error a [`Problem`] that begins with what was tried.
    fn tried(self, what: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: std::error::Error> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Problem::new(what()).because(error))
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n           ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_what_to_do() {
        let io = std::io::Error::other("no such thing");
        let problem = Problem::usage("cannot read floe.toml").because(io).next("make it\nby hand");
        assert_eq!(
            problem.to_string(),
            "cannot read floe.toml\n  because: no such thing\n  to do:   make it\n           by hand"
        );
        assert_eq!(problem.exit().code(), 2);
        assert_eq!(problem.summary(), "cannot read floe.toml: no such thing");
        assert_eq!(problem.steps(), "make it\nby hand");
    }
}
