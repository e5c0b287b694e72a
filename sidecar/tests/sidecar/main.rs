//! The program as its users meet it: command lines, files, sockets, log lines and metrics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod authority;
mod command_line;
mod credentials;
mod ending;
mod inbound;
mod network;
mod outbound;
mod peer;
mod program;
mod redirect;
mod relaid;
