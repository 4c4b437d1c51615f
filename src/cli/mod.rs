//! The command line: which commands there are, and the way from a [`Problem`] to an exit code. One file per command.

mod api_versions;
mod check;
mod client;
mod consume;
mod dump_log;
mod format;
mod group;
mod input;
mod output;
mod produce;
mod serve;
mod topic;
mod txn;
mod why_slow;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::problem::{Exit, Outcome};

const EXIT_CODES: &str = "Exit codes:
  0    done; for `serve`: shut down cleanly after SIGTERM or SIGINT
  1    failed; the reason and what to do about it stand on standard error
  2    the command line or the configuration is wrong, nothing was done
  130  a second SIGTERM or SIGINT ended `serve` at once (the journal is replayed at the next start), or `consume --group` (it did not leave)

Environment:
  FLOE_BOOTSTRAP  what --bootstrap defaults to
  FLOE_CONFIG     what --config defaults to
  FLOE_LOG        which log lines `serve` writes: error, warn, info (default), debug, or per target (floe=debug)
  FLOE_<SETTING>  a setting of `serve`: log.retention.ms is FLOE_LOG_RETENTION_MS";

/// A message broker for Linux bare metal that speaks the Kafka protocol: one core, one share of the partitions.
#[derive(Debug, Parser)]
#[command(name = "floe", version, about, after_help = EXIT_CODES, max_term_width = 120, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker.
    Serve(serve::ServeArgs),
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// List and describe consumer groups, move their offsets, delete them.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// List and describe transactions, and abort one that hangs.
    #[command(subcommand)]
    Txn(txn::TxnCommand),
    /// Write records: lines of standard input, JSON lines or whole files.
    Produce(produce::ProduceArgs),
    /// Read records and print them.
    Consume(consume::ConsumeArgs),
    /// Say what this machine lacks for running Floe well, and the command that mends it.
    Check(check::CheckArgs),
    /// Print what is in the journal and the segments of a broker that is not running.
    DumpLog(dump_log::DumpLogArgs),
    /// Show where a broker's time goes, and say in one line what holds its clients back.
    WhySlow(why_slow::WhySlowArgs),
    /// Print which requests, in which versions, a broker understands.
    ApiVersions(api_versions::ApiVersionsArgs),
}

/// Which broker a command talks to: Floe or any other that speaks the Kafka protocol.
#[derive(Clone, Debug, Args)]
struct Bootstrap {
    /// A broker to begin with; the others are learned from it. Several, separated by commas, are tried in order.
    #[arg(
        short = 'b',
        long = "bootstrap",
        value_name = "HOST:PORT",
        env = "FLOE_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap: String,
    /// How long to wait for a broker's answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout_ms: u64,
}

/// Runs the command line of this process to its end.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(command_line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            if !problem.is_quiet() {
                eprintln!("error: {problem}");
            }
            problem.exit().into()
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Topic(command) => topic::run(command),
        Command::Group(command) => group::run(command),
        Command::Txn(command) => txn::run(command),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Check(args) => check::run(args),
        Command::DumpLog(args) => dump_log::run(args),
        Command::WhySlow(args) => why_slow::run(args),
        Command::ApiVersions(args) => api_versions::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }
}
