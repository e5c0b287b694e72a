//! Our own credentials, whom we trust, and the policy, from files that change while we run.

mod files;
mod load;
mod serving;
mod watch;

pub use files::Files;
pub use load::{Credentials, Error, Role, Unfit};
pub use serving::{Serving, Sources};
pub use watch::{State, Watched, watch};

#[cfg(test)]
mod tests;
