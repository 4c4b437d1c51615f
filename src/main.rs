//! The `floe` binary: the command line, which starts everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    floe::cli::main()
}
