//! Ports whose application is told with each HTTP request who calls.

mod bulk;
mod http1;
mod http2;
mod hyper2;
mod life;
mod programs;
mod smuggling;
mod stage;
mod upgrade;
