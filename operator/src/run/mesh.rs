//! What every replica watches, whether or not it leads: who is in the mesh, and who may talk to whom.

use std::fmt::Debug;
use std::hash::Hash;

use countersign_crds::AccessPolicy;
use kube::runtime::reflector::store::Writer;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Controllers;
use crate::discovery::Hub;
use crate::identity;
use crate::kept::{MeshPod, MeshService, MeshSlice};
use crate::watch::{Change, Once, Routes, Scope, follow};

/// Where the watches write what they see that every replica has.
pub(super) struct MeshWriters {
    pub(super) pods: Writer<MeshPod>,
    pub(super) services: Writer<MeshService>,
    pub(super) slices: Writer<MeshSlice>,
    pub(super) access_policies: Writer<AccessPolicy>,
}

impl Controllers {
    /// Begins to watch who is in the mesh. What serves needs it whether or not it leads, and answers by
    /// it; what issues needs the pods and the Services that identities are of.
    pub fn observe(&mut self, stop: &CancellationToken) {
        let Some(mesh) = self.mesh.take() else { return };
        let MeshWriters { pods, services, slices, access_policies } = mesh;
        let read = [Once::default(), Once::default(), Once::default()];
        let [pods_read, services_read, slices_read] = read.clone();
        let config = kube::runtime::watcher::Config::default;
        let scope = Scope {
            config: config().labels(&identity::injected()),
            slim: MeshPod::lessen,
            read: pods_read,
        };
        self.share(scope, pods, stop, Hub::pod, Routes::pod);
        let scope = Scope { config: config(), slim: MeshService::lessen, read: services_read };
        self.share(scope, services, stop, Hub::service, Routes::service);
        if self.context.settings.process.role.serves() {
            let scope = Scope { config: config(), slim: MeshSlice::lessen, read: slices_read };
            self.share(scope, slices, stop, Hub::slice, |_, _| {});
            let scope = Scope::default();
            self.share(scope, access_policies, stop, Hub::access_policy, Routes::access_policy);
        } else {
            slices_read.set();
        }
        let (hub, complete) = (self.hub.clone(), self.context.seen.mesh_was_read.clone());
        tokio::spawn(async move {
            for read in read {
                read.wait().await;
            }
            complete.set();
            hub.everything();
        });
    }

    /// Follows one kind for discovery where it is served, and for the reconcilers once we lead.
    fn share<K>(
        &self,
        scope: Scope<K>,
        writer: Writer<K>,
        stop: &CancellationToken,
        answer: fn(&Hub, &Change<'_, K>),
        route: fn(&Routes, Change<'_, K>),
    ) where
        K: Resource<DynamicType: Eq + Hash + Clone + Default + Send + Sync>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let hub = self.context.settings.process.role.serves().then(|| self.hub.clone());
        let (leading, stop) = (self.leading.clone(), stop.clone());
        let restarts = self.context.metrics.watch_restarts.clone();
        let api: Api<K> = Api::all(self.context.client.clone());
        tokio::spawn(async move {
            let told = |change: Change<'_, K>| {
                if let Some(hub) = &hub {
                    answer(hub, &change);
                }
                if let Some(routes) = leading.get() {
                    route(routes, change);
                }
            };
            let following = follow(api, scope, writer, &restarts, told);
            tokio::select! { () = following => {} () = stop.cancelled() => {} }
        });
    }
}
