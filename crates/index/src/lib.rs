//! Exact scan and HNSW behind one object-safe trait, the spec and the file format.
#![forbid(unsafe_code)]
