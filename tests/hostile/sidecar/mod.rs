//! Attackers against the sidecar, as a real process in network namespaces of the test's own. Each finding
//! of a review is a test that failed before its fix; docs/threat-model.md names threat, control and test.

mod endpoints;
mod http;
mod load;
mod network;
mod policy;
