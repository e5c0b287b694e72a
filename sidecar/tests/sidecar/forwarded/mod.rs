//! Ports whose application is told with each HTTP request who calls.

mod bulk;
pub(crate) mod frames;
mod http1;
mod http2;
pub(crate) mod hyper2;
mod life;
mod odd;
mod programs;
mod rests;
mod smuggling;
pub(crate) mod stage;
mod upgrade;
