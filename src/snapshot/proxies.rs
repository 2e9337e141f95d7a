//! Istio's proxies: which versions run in which namespace.
//!
//! There may be ten thousand, so nothing of a Pod is kept but its name and the version of its proxy, and pods that come
//! and go are told to nobody while the versions in their namespace stay the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Key, labels_of};
use crate::render::istio::versions::ImageVersion;

/// Label that Istio's injection puts on every pod with a sidecar, and its templates on gateways and waypoints.
pub const PROXY_LABEL: &str = "service.istio.io/canonical-name";

/// The container that runs the proxy; with native sidecars it is among the init containers.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// A set of versions.
pub type Versions = BTreeSet<ImageVersion>;

/// The proxies of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    namespaces: BTreeMap<String, Pods>,
}

/// The proxies of a namespace; never empty.
#[derive(Clone, Debug, Default)]
struct Pods {
    versions: BTreeMap<String, ImageVersion>,
    counts: BTreeMap<ImageVersion, usize>,
}

impl Proxies {
    /// Notes the version of a Pod's proxy, or that it has none (any more). Tells whether the set of versions in its
    /// namespace has changed.
    pub(super) fn set(&mut self, pod: &Key, version: Option<ImageVersion>) -> bool {
        let pods = self.namespaces.entry(pod.namespace.clone()).or_default();
        let before = match version {
            Some(version) => pods.versions.insert(pod.name.clone(), version),
            None => pods.versions.remove(&pod.name),
        };
        let changed = before != version && {
            let appeared = version.is_some_and(|version| pods.count_in(version));
            let gone = before.is_some_and(|before| pods.count_out(before));
            appeared || gone
        };
        if pods.versions.is_empty() {
            self.namespaces.remove(&pod.namespace);
        }
        changed
    }

    /// Every Pod.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.namespaces
            .iter()
            .flat_map(|(namespace, pods)| pods.versions.keys().map(move |name| Key::new(namespace, name)))
    }

    /// Versions in a namespace.
    pub(super) fn versions_in(&self, namespace: &str) -> Versions {
        self.namespaces.get(namespace).into_iter().flat_map(Pods::set).collect()
    }

    /// Versions in the namespaces that are taken.
    pub(super) fn versions_where(&self, is_taken: impl Fn(&str) -> bool) -> Versions {
        let taken = self.namespaces.iter().filter(|(namespace, _)| is_taken(namespace));
        taken.flat_map(|(_, pods)| pods.set()).collect()
    }
}

impl Pods {
    fn set(&self) -> impl Iterator<Item = ImageVersion> {
        self.counts.keys().copied()
    }

    /// Whether it is the first of this version.
    fn count_in(&mut self, version: ImageVersion) -> bool {
        let count = self.counts.entry(version).or_default();
        *count += 1;
        *count == 1
    }

    /// Whether it was the last of this version.
    fn count_out(&mut self, version: ImageVersion) -> bool {
        let Some(count) = self.counts.get_mut(&version) else {
            return false;
        };
        *count -= 1;
        let was_last = *count == 0;
        if was_last {
            self.counts.remove(&version);
        }
        was_last
    }
}

/// Version of the proxy that a Pod runs; `None` where it runs none, has ended or is leaving.
pub fn proxy_of(pod: &Value) -> Option<ImageVersion> {
    let runs = labels_of(pod).contains_key(PROXY_LABEL) && is_running(pod);
    image_of(pod, PROXY_CONTAINER)
        .filter(|_| runs)
        .map(ImageVersion::of_image)
}

/// Whether a Pod runs, or will: it has not ended and is not leaving.
pub fn is_running(pod: &Value) -> bool {
    let ended = matches!(
        pod.pointer("/status/phase").and_then(Value::as_str),
        Some("Succeeded" | "Failed")
    );
    !ended && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// Image of a Pod's container of that name.
pub fn image_of<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    let lists = ["/spec/containers", "/spec/initContainers"];
    lists
        .iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(container))
        .and_then(|entry| entry.get("image")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::istio::versions::IstioVersion;

    fn pod(list: &str, container: &str) -> Value {
        json!({"metadata": {"namespace": "a", "name": "x", "labels": {PROXY_LABEL: "x"}},
               "spec": {list: [{"name": "app", "image": "app:1.2"}, {"name": container, "image": "proxyv2:1.30.2"}]}})
    }

    fn with(mut pod: Value, pointer: &str, field: &str, value: Value) -> Value {
        if pod.pointer(pointer).is_none() {
            pod[pointer.trim_start_matches('/')] = json!({});
        }
        pod.pointer_mut(pointer).unwrap()[field] = value;
        pod
    }

    #[test]
    fn sidecars_of_both_sorts_count_and_what_runs_no_proxy_does_not() {
        let version = Some(ImageVersion::Istio(IstioVersion::new(30)));
        assert_eq!(proxy_of(&pod("containers", "istio-proxy")), version);
        assert_eq!(proxy_of(&pod("initContainers", "istio-proxy")), version);
        assert_eq!(proxy_of(&pod("containers", "agentgateway")), None);
        let unlabelled = with(
            pod("containers", "istio-proxy"),
            "/metadata",
            "labels",
            json!({"app": "x"}),
        );
        assert_eq!(proxy_of(&unlabelled), None, "the operator's watch does not bring it");
    }

    #[test]
    fn a_pod_that_has_ended_or_is_leaving_runs_no_proxy() {
        let proxy = || pod("containers", "istio-proxy");
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(
                proxy_of(&with(proxy(), "/status", "phase", json!(phase))),
                None,
                "{phase}"
            );
        }
        let leaving = with(proxy(), "/metadata", "deletionTimestamp", json!("2026-11-21T00:00:00Z"));
        assert_eq!(proxy_of(&leaving), None);
        assert!(proxy_of(&with(proxy(), "/status", "phase", json!("Pending"))).is_some());
    }
}
