//! The one command that runs every check.
fn main() {}
