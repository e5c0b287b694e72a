//! The program as its users meet it: command lines, files, sockets, log lines and metrics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod admin;
mod attacks;
mod authority;
mod beginnings;
mod bundles;
mod calm;
mod chains;
mod command_line;
mod credentials;
mod crowds;
mod discovery;
mod ending;
mod ends;
mod forwarded;
mod half_close;
mod half_close_bulk;
mod healthy;
#[path = "../../../tests/hostile/sidecar/mod.rs"]
mod hostile;
mod inbound;
mod keys;
mod live;
mod misconduct;
mod network;
mod openssl;
mod outbound;
mod own_tls;
mod peer;
mod ports;
mod probes;
mod program;
mod redirect;
mod relaid;
mod speaking_first;
mod stream;
mod tls12;
mod tls13;
mod told;
mod traces;
mod transparent;
mod upstreams;
