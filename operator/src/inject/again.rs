//! A pod that has the sidecar already: after another webhook changed it, or as its author wrote it; pure.

use countersign_contract::{ProbeDocument, names};
use serde_json::{Value, json};

use super::annotations::wishes;
use super::args::InjectArgs;
use super::dress;
use super::patch::{Injection, Skip, add, containers_of_ours, others_fit, volume};
use super::pod::{Container, Env, Pod, PodSpec, Variable};
use super::probes::{Rewritten, rewrite};

/// The variables of ours that start with this.
const OURS: &str = "COUNTERSIGN_";

/// Variables that may differ: those of probes are kept, and addresses of discovery change.
const MAY_DIFFER: [&str; 3] =
    [names::PROBES_VARIABLE, names::POD_IP_VARIABLE, "COUNTERSIGN_DISCOVERY_ADDRESSES"];

/// The API server asks again where another webhook changed the pod after us. The probes of what that one
/// added must not be left to the kubelet, and none of its init containers may run before the rules are
/// laid. A pod's author can write what we would have written: what runs under our names is what
/// we make, and a container that is not is made anew. Its image stays, which a mirror may have changed;
/// policy countersign-exemptions judges images.
pub(super) fn again(
    pod: &Pod,
    spec: &PodSpec,
    args: &InjectArgs,
    fresh: ProbeDocument,
) -> Injection {
    let wishes = wishes(pod, spec, args);
    let wishes = match wishes.and_then(|wishes| others_fit(spec, &wishes).map(|()| wishes)) {
        Ok(wishes) => wishes,
        Err(why) => return Injection::Refuse(why),
    };
    let known = known_probes(spec);
    let document = known.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(fresh);
    let Rewritten { mut operations, document, .. } = rewrite(spec, &wishes, document);
    let expected = containers_of_ours(spec, args, &wishes, document.as_deref().or(known));
    for container in &expected {
        operations.extend(corrected(spec, container, document.as_deref()));
    }
    // After these, since they name containers by their places.
    operations.extend(first(spec));
    let rules = &expected[0];
    if place_of(spec, rules["name"].as_str().unwrap_or_default()).is_none() {
        operations.push(add("/spec/initContainers/0", rules));
    }
    if !spec.volumes.has_credentials {
        operations.push(volume(spec));
    }
    if operations.is_empty() {
        Injection::Skip(Skip::AlreadyInjected)
    } else {
        Injection::Patch(operations)
    }
}

fn known_probes(spec: &PodSpec) -> Option<&str> {
    let place = place_of(spec, names::SIDECAR_CONTAINER)?;
    let variable = spec.init_containers[place].env.of(names::PROBES_VARIABLE)?;
    variable.value.as_deref()
}

/// Gives a container of ours what it lacks.
fn corrected(spec: &PodSpec, expected: &Value, probes: Option<&str>) -> Vec<Value> {
    let name = expected["name"].as_str().unwrap_or_default();
    let Some(place) = place_of(spec, name) else { return Vec::new() };
    let actual = &spec.init_containers[place];
    let path = format!("/spec/initContainers/{place}");
    if !is_as_made(actual, expected) {
        let mut made = expected.clone();
        if let Some(image) = &actual.image {
            made["image"] = json!(image);
        }
        return vec![replaced(&path, &made)];
    }
    let is_sidecar = name == names::SIDECAR_CONTAINER;
    let probes = probes.filter(|_| is_sidecar);
    probes.map_or_else(Vec::new, |probes| asking(&format!("{path}/env"), &actual.env, probes))
}

fn replaced(path: &str, value: &Value) -> Value {
    json!({ "op": "replace", "path": path, "value": value })
}

/// Whether a container runs what we make, as the user that we name. Others may add variables and mounts of
/// their own.
fn is_as_made(actual: &Container, expected: &Value) -> bool {
    let words = expected["command"].as_array().map_or(&[][..], Vec::as_slice);
    let user = actual.security_context.as_ref().and_then(|context| context.run_as_user);
    actual.args.count == 0
        && actual.command.are(words)
        && user == expected["securityContext"]["runAsUser"].as_i64()
        && has_variables(&actual.env, expected)
}

fn has_variables(actual: &Env, expected: &Value) -> bool {
    let expected = expected["env"].as_array().map_or(&[][..], Vec::as_slice);
    let value_of = |name: &str| {
        let found = expected.iter().find(|variable| variable["name"] == name)?;
        Some(found["value"].as_str())
    };
    let judged = |name: &str| name.starts_with(OURS) && !MAY_DIFFER.contains(&name);
    let all_there = expected.iter().filter_map(|variable| variable["name"].as_str());
    let all_there = all_there.filter(|name| judged(name)).all(|name| actual.of(name).is_some());
    let mut actual_ones = actual.ours.iter().filter(|variable| judged(&variable.name));
    let are_same = |variable: &Variable| {
        value_of(&variable.name).is_some_and(|value| value == variable.value.as_deref())
    };
    !actual.is_cut() && all_there && actual_ones.all(are_same)
}

fn place_of(spec: &PodSpec, name: &str) -> Option<usize> {
    spec.init_containers.iter().position(|container| container.name == name)
}

/// Gives the sidecar the variables by which it probes, in the place of those that it has.
fn asking(path: &str, env: &Env, document: &str) -> Vec<Value> {
    let mut operations = Vec::new();
    if env.count == 0 {
        operations.push(add(path, &json!([])));
    }
    for variable in dress::asking(document) {
        let name = variable["name"].as_str().unwrap_or_default();
        operations.push(match env.of(name).map(|there| there.place) {
            Some(place) => {
                json!({ "op": "replace", "path": format!("{path}/{place}"), "value": variable })
            }
            None => add(&format!("{path}/-"), &variable),
        });
    }
    operations
}

/// Puts our containers before all others again: the rules, then the sidecar.
fn first(spec: &PodSpec) -> Vec<Value> {
    let mut names: Vec<&str> = spec.init_containers.iter().map(|it| it.name.as_str()).collect();
    let mut moves = Vec::new();
    let mut to = 0;
    for ours in [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER] {
        let Some(from) = names.iter().position(|name| *name == ours) else { continue };
        if from != to {
            let path = |place: usize| format!("/spec/initContainers/{place}");
            moves.push(json!({ "op": "move", "from": path(from), "path": path(to) }));
            let name = names.remove(from);
            names.insert(to, name);
        }
        to += 1;
    }
    moves
}

#[cfg(test)]
mod tests;
