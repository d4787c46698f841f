//! The built program as a person meets it: files, words and exit codes. Everything runs on small pictures drawn here.

mod bad_data;
mod bad_files;
mod bad_recipes;
mod codes;
mod common;
mod determinism;
mod goals;
mod growth;
mod help;
mod path;
mod runs;
mod serving;
mod vector_index;
mod vectors;
