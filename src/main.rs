//! Subcommand switch of the `floe` binary.
fn main() {}
