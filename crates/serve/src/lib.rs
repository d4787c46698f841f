//! The HTTP API and the embedded search page.
#![forbid(unsafe_code)]
