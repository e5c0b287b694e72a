//! The list of live connections, as JSON.

use std::sync::Arc;

use rustls_pki_types::UnixTime;
use serde_json::{Value, json};

use crate::live::{Entry, Table};

/// Every live connection: who, from where, to where, since when, how much.
pub(crate) fn json(tables: &[Arc<Table>], now: UnixTime) -> String {
    let mut all = Vec::new();
    for table in tables {
        table.for_each(|entry| all.push(one(entry, now)));
    }
    json!({ "connections": all }).to_string() + "\n"
}

fn one(entry: &Entry, now: UnixTime) -> Value {
    let about = &entry.about;
    let [received, sent] = entry.bytes();
    json!({
        "direction": format!("{:?}", about.direction),
        "client": about.client.to_string(),
        "to": about.to.to_string(),
        "peer": about.peer.as_ref().map(ToString::to_string),
        "peerNotAfter": about.peer.as_ref().map(|peer| peer.not_after),
        "ageSeconds": now.as_secs().saturating_sub(about.since),
        "received": received,
        "sent": sent,
    })
}
