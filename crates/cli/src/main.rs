//! The deepembed binary.
fn main() {}
