//! `edges`: who talks to whom, as the sidecars saw it since they started.
//!
//! `merge` puts together what both ends of a call say of it; `dot` and `svg` draw that.

mod dot;
mod merge;
mod svg;

use countersign_contract::names;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;

use self::merge::Told;
pub use self::merge::{Edge, merge};
use super::forward;
use super::names::short;
use crate::args::{EdgesArgs, Format, Global};
use crate::clock;
use crate::cluster::{Cluster, all};
use crate::error::Error;
use crate::output;
use crate::text::{one_line, relative, table};

/// So many sidecars are asked at once.
const AT_ONCE: usize = 16;

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The busiest first.
    pub edges: Vec<Edge>,
    /// How many sidecars answered.
    pub sidecars: usize,
    /// Those that did not, and why.
    pub silent: Vec<String>,
}

/// Tells who talks to whom.
///
/// # Errors
/// When pods cannot be listed.
pub async fn run(global: &Global, args: &EdgesArgs) -> Result<(), Error> {
    let cluster = Cluster::of(global).await?;
    let report = gather(&cluster, args).await?;
    match global.output {
        Format::Dot => output::raw(dot::draw(&report.edges).as_bytes()),
        Format::Svg => output::raw(svg::draw(&report.edges).as_bytes()),
        Format::Text | Format::Json => output::print(global.output, &report, text),
    }
}

async fn gather(cluster: &Cluster, args: &EdgesArgs) -> Result<Report, Error> {
    let pods: Api<Pod> = match args.all_namespaces {
        true => Api::all(cluster.client.clone()),
        false => cluster.namespaced(),
    };
    let injected = ListParams::default().labels(&format!("{}=true", names::INJECTED_LABEL));
    let found = all(&pods, &injected).await?;
    let running = found.iter().filter(|pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    });
    let asking = running.map(|pod| one(cluster, pod));
    let told: Vec<Result<Told, String>> =
        futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    let (told, mut silent): (Vec<_>, Vec<_>) = told.into_iter().partition(Result::is_ok);
    let told: Vec<Told> = told.into_iter().flatten().collect();
    silent.sort_by_key(|one| one.as_ref().err().cloned());
    let silent = silent.into_iter().filter_map(Result::err).collect();
    Ok(Report { edges: merge(&told), sidecars: told.len(), silent })
}

async fn one(cluster: &Cluster, pod: &Pod) -> Result<Told, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let name = pod.name_any();
    let failed = |why: &dyn std::fmt::Display| format!("{namespace}/{name}: {why}");
    let text = forward::get(&pods, &name, "/edges").await.map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn text(report: &Report) -> String {
    let now = clock::now();
    let head = ["FROM", "TO", "BY", "CONNECTIONS", "SINCE", "LAST"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for edge in &report.edges {
        let ago = |seconds: i64| {
            jiff::Timestamp::from_second(seconds)
                .map_or_else(|_| "?".to_owned(), |at| relative(at, now))
        };
        rows.push(vec![
            short(&edge.from),
            short(&edge.to),
            edge.by.join(", "),
            edge.connections.to_string(),
            ago(edge.first),
            ago(edge.last),
        ]);
    }
    let mut text = match report.edges.is_empty() {
        true => format!("nobody talked to anybody yet ({} sidecars were asked)\n", report.sidecars),
        false => table("", &rows),
    };
    for silent in &report.silent {
        text += &format!("not asked: {}\n", one_line(silent));
    }
    text
}
