//! What is behind the client's end: records opened and sealed as the relay does it, in buffers that a
//! worker's connections share.
//!
//! Kept are only the beginning of a record, what hyper has no room for yet, and what the socket does
//! not take: a record or so of each.

mod reading;
mod writing;

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::line::Line;
use crate::record::Session;
use crate::relay::outlet::Outlet;
use crate::relay::{Ended, reset};

/// The client's socket and session.
pub(in crate::http) struct Side {
    stream: TcpStream,
    /// None where plaintext is carried as it is.
    session: Option<Box<Session>>,
    /// The beginning of a record whose end has not come yet.
    partial: Vec<u8>,
    /// What was opened and not taken yet.
    plain: Vec<u8>,
    taken: usize,
    outlet: Outlet,
    /// Whether `partial` may hold whole records: what came along with the handshake.
    is_new: bool,
    /// Whether the client said that it will send no more.
    has_ended: bool,
    /// Whether we said so.
    is_shut: bool,
    line: Arc<Line>,
}

impl Side {
    pub(in crate::http) fn new(
        stream: TcpStream,
        session: Option<Box<Session>>,
        early: Vec<u8>,
        line: Arc<Line>,
    ) -> Self {
        Self {
            stream,
            session,
            partial: early,
            plain: Vec::new(),
            taken: 0,
            outlet: Outlet::default(),
            is_new: true,
            has_ended: false,
            is_shut: false,
            line,
        }
    }

    pub(in crate::http) fn is_shut(&self) -> bool {
        self.is_shut && self.outlet.is_empty()
    }

    pub(in crate::http) fn break_off(&mut self, ended: &Ended) {
        if !self.tells(ended) {
            reset(&self.stream);
        }
    }

    fn breaks(&self, ended: Ended) -> io::Error {
        self.line.breaks(ended)
    }
}
