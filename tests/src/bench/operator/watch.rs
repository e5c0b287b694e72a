//! Sees what becomes of objects, on one watch, and reads no more of them than it must.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::site::name_of;

/// As long as the API server lets one watch last; the next one goes on where it ended.
const LONGEST: u32 = 290;

/// Something changes at least this often as long as there is work to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// An object, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    revision: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

/// What was seen of an object.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its name.
    pub(super) name: String,
    /// Whether it is Ready.
    pub(super) is_ready: bool,
    /// How often it was issued.
    pub(super) revision: u64,
    /// When it was seen.
    pub(super) at: Instant,
}

/// A watch on the objects of one kind in one namespace.
pub(super) struct Watch {
    seen: mpsc::UnboundedReceiver<anyhow::Result<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the API server does not say where now is.
    pub(super) async fn of(client: Client, collection: String) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct List {
            metadata: Metadata,
        }
        let objects = Request::new(collection);
        let first: List = client.request(objects.list(&ListParams::default().limit(1))?).await?;
        let (sender, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut version = first.metadata.resource_version;
            loop {
                if let Err(error) = follow(&client, &objects, &mut version, &sender).await {
                    // An error means that nobody wants to know any more.
                    let _ = sender.send(Err(error));
                    break;
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The next change.
    ///
    /// # Errors
    /// When none comes for so long, or the watch broke.
    pub(super) async fn next(&mut self, patience: Duration) -> anyhow::Result<Seen> {
        let next = tokio::time::timeout(patience, self.seen.recv()).await;
        next.with_context(|| format!("nothing changed in {patience:?}"))?.context("the watch")?
    }

    /// Waits until a Certificate is Ready at this revision or a later one; returns when it was seen.
    ///
    /// # Errors
    /// When nothing changes any more although it is not.
    pub(super) async fn ready(&mut self, number: usize, revision: u64) -> anyhow::Result<Instant> {
        let name = name_of(number);
        loop {
            let next = self.next(PATIENCE).await;
            let seen = next.with_context(|| format!("{name} is not Ready"))?;
            if seen.name == name && seen.is_ready && seen.revision >= revision {
                return Ok(seen.at);
            }
        }
    }

    /// Waits until so many objects are Ready at this revision or a later one; returns when the last
    /// of them was seen to be.
    ///
    /// # Errors
    /// When nothing more changes although some are not.
    pub(super) async fn all_ready(
        &mut self,
        count: usize,
        revision: u64,
    ) -> anyhow::Result<Instant> {
        let mut ready = HashSet::new();
        let mut told = Instant::now();
        loop {
            let next = self.next(PATIENCE).await;
            let seen = next.with_context(|| format!("{} of {count} are Ready", ready.len()))?;
            if seen.is_ready && seen.revision >= revision {
                ready.insert(seen.name);
            }
            if ready.len() == count {
                return Ok(seen.at);
            }
            if told.elapsed().as_secs() >= 10 {
                told = Instant::now();
                println!("  {} of {count} are Ready", ready.len());
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One watch, until the API server ends it.
async fn follow(
    client: &Client,
    objects: &Request,
    version: &mut String,
    sender: &mpsc::UnboundedSender<anyhow::Result<Seen>>,
) -> anyhow::Result<()> {
    let parameters = WatchParams::default().timeout(LONGEST);
    let events = client.request_events::<Object>(objects.watch(&parameters, version)?).await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                version.clone_from(&object.metadata.resource_version);
                let _ = sender.send(Ok(seen(object)));
            }
            WatchEvent::Bookmark(bookmark) => {
                version.clone_from(&bookmark.metadata.resource_version);
            }
            WatchEvent::Deleted(object) => *version = object.metadata.resource_version,
            WatchEvent::Error(status) => bail!("the watch ended: {}", status.message),
        }
    }
    Ok(())
}

fn seen(object: Object) -> Seen {
    let is_ready = |condition: &Condition| condition.type_ == "Ready" && condition.status == "True";
    Seen {
        is_ready: object.status.conditions.iter().any(is_ready),
        revision: object.status.revision.unwrap_or(0),
        name: object.metadata.name,
        at: Instant::now(),
    }
}
