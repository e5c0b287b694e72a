//! What the watches saw: each kind is followed once, whoever wants to know of it, and a change
//! puts the objects that it concerns into the queues of their reconcilers.

mod authorities;
mod claims;
mod config_maps;
mod follow;
mod gathered;
mod inputs;
mod once;
mod own_writes;
mod queues;
mod routes;
mod secrets;
mod versions;

pub use authorities::{Named, follow_authorities};
pub use claims::Claims;
pub use config_maps::{Found, POLICY_LABEL, Published, follow_config_maps};
pub use follow::{Change, Scope, follow};
pub use gathered::Gathered;
pub use inputs::Inputs;
pub use once::Once;
pub use own_writes::OwnWrites;
pub use queues::{Outlet, Queue, Queues, Waiting};
pub use routes::Routes;
pub use secrets::{Touched, follow_secrets};
pub use versions::{Key, Versions};
