//! Gives the two containers what their pod asks for; pure.

use std::time::Duration;

use countersign_contract::names;
use serde_json::{Value, json};

use super::annotations::{Mode, Wishes};

/// The variables by which the sidecar is told how to log.
const LOG: &str = "COUNTERSIGN_LOG";
const LOG_FORMAT: &str = "COUNTERSIGN_LOG_FORMAT";

/// The container with the rules.
pub(super) fn redirect(mut container: Value, wishes: &Wishes) -> Value {
    if !wishes.skip_outbound.is_empty() {
        let ports: Vec<_> = wishes.skip_outbound.iter().map(u16::to_string).collect();
        command(&mut container, &["--skip-outbound".to_owned(), ports.join(",")]);
    }
    // Quotas, limit ranges and QoS classes count every container.
    container["resources"] = wishes.resources.value();
    container
}

/// The sidecar.
pub(super) fn proxy(mut container: Value, wishes: &Wishes, probes: Option<&str>) -> Value {
    command(&mut container, &["--drain-timeout".to_owned(), text(wishes.drain)]);
    for (flag, time) in &wishes.time_limits {
        command(&mut container, &[(*flag).to_owned(), text(*time)]);
    }
    match wishes.mode {
        Mode::Explicit => command(&mut container, &["--inbound".to_owned(), "0".to_owned()]),
        Mode::Redirect => {
            let port = names::OUTBOUND_PORT.to_string();
            command(&mut container, &["--outbound".to_owned(), port]);
        }
    }
    for served in &wishes.served {
        command(&mut container, &["--serve".to_owned(), served.to_string()]);
    }
    variable(&mut container, json!({ "name": LOG, "value": wishes.log }));
    variable(&mut container, json!({ "name": LOG_FORMAT, "value": wishes.log_format }));
    for asking in probes.into_iter().flat_map(asking) {
        variable(&mut container, asking);
    }
    container["resources"] = wishes.resources.value();
    container
}

/// The variables that a sidecar needs to make probes.
pub(super) fn asking(probes: &str) -> [Value; 2] {
    let address = json!({ "fieldRef": { "fieldPath": "status.podIP" } });
    [
        json!({ "name": names::POD_IP_VARIABLE, "valueFrom": address }),
        json!({ "name": names::PROBES_VARIABLE, "value": probes }),
    ]
}

/// As the sidecar reads it.
fn text(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn command(container: &mut Value, more: &[String]) {
    if let Some(command) = container["command"].as_array_mut() {
        command.extend(more.iter().map(|word| json!(word)));
    }
}

/// Sets a variable in the place of one of the same name.
fn variable(container: &mut Value, value: Value) {
    if container["env"].is_null() {
        container["env"] = json!([]);
    }
    if let Some(variables) = container["env"].as_array_mut() {
        match variables.iter_mut().find(|variable| variable["name"] == value["name"]) {
            Some(there) => *there = value,
            None => variables.push(value),
        }
    }
}
