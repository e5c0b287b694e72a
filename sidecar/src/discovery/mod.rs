//! Who is behind an address: asked of the operator once, and then kept up to date by a stream.
//!
//! `book` is what is known, and where connections wait for what is not known yet; `questions` is what is to
//! be asked; `inside` tells which addresses need not be asked about; `destination` is one answer; `client`
//! asks. While the operator is away, what is known goes on as it was.

mod book;
mod client;
mod destination;
mod inside;
mod pick;
mod questions;
mod report;

pub(crate) use book::Book;
pub(crate) use client::{Client, Connecting};
pub(crate) use destination::{Destination, Endpoint, Load};
pub(crate) use report::Denials;
