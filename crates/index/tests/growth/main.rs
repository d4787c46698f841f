//! Indexes that grow.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod histories;
mod oracle;
#[path = "../../../../fuzz/seal.rs"]
mod seal;
mod sharing;
