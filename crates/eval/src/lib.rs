//! Retrieval and clustering metrics with protocols and intervals, t-SNE, plots and the report.
#![forbid(unsafe_code)]
