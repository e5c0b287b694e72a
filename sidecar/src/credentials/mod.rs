//! Our own certificate and key, and the roots that peers must chain to.
//!
//! `load` reads and checks a whole set; `watch` publishes it to new connections. A set is
//! published whole or not at all, and a broken one leaves the one before in use.

mod load;
mod watch;

pub use load::{Credentials, Error, load};
pub use watch::{State, Watched, watch};
