//! `floe check`: what this machine lacks for running Floe with the settings that `serve` would take, and the command that mends each thing.

mod device;
mod machine;
mod place;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::serve::SettingArgs;
use crate::problem::{Outcome, Problem};

/// It looks at the machine with the settings that `floe serve` would take: the same file, environment and flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Print as JSON, one finding a line: grade (ok, warn, bad), what, found, mend.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

const EXAMPLES: &str = "Ends with 0 when nothing keeps Floe from running, else with 1.

Examples:
  floe check
  sudo -u floe floe check --config /etc/floe/floe.toml
  floe check --json | jq 'select(.grade != \"ok\")'";

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// As it should be.
    Good,
    /// Floe runs, but worse than it could.
    Worse,
    /// Floe does not run.
    Bad,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Grade::Good => "ok",
            Grade::Worse => "warn",
            Grade::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Finding {
    grade: Grade,
    what: String,
    found: String,
    mend: Option<String>,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Finding {
        Finding { grade: Grade::Good, what: what.to_owned(), found: found.into(), mend: None }
    }

    fn with(grade: Grade, what: &str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { grade, what: what.to_owned(), found: found.into(), mend: Some(mend.into()) }
    }
}

pub(super) fn run(args: CheckArgs) -> Outcome {
    let config = args.settings.load()?;
    let mut findings = machine::look(&config);
    findings.extend(place::look(&config));
    let mut output = Output::new();
    for finding in &findings {
        if args.json {
            output.json(&json!({
                "grade": finding.grade.word(), "what": finding.what, "found": finding.found, "mend": finding.mend,
            }))?;
        } else {
            output.line(format!("{:5} {}: {}", finding.grade.word(), finding.what, finding.found))?;
            if let Some(mend) = &finding.mend {
                output.line(format!("      to do: {mend}"))?;
            }
        }
    }
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    if !args.json && bad == 0 {
        output.line("Floe runs on this machine.")?;
    }
    output.flush()?;
    match bad {
        0 => Ok(()),
        1 => Err(Problem::new("one of these keeps Floe from running").next("do what stands under `bad` above")),
        bad => {
            Err(Problem::new(format!("{bad} of these keep Floe from running")).next("do what stands under `bad` above"))
        }
    }
}
