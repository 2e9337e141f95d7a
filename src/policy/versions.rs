//! The oldest proxy of a mesh: a format that it does not know would make it refuse its whole listener.
//!
//! What the spec says counts. Else what is seen: the images of the proxies, and of istiod, because a proxy that is injected
//! a moment from now has the version of the istiod that does it. Where a proxy's version cannot be seen it may be one minor
//! version behind istiod (older ones Istio does not support).

use serde_json::Value;

use super::membership::{NotAMember, name_of, pending, root_namespace};
use crate::crds::{IstioMesh, ObservabilityMesh, SeenVersions};
use crate::format::EnvoyVersion;
use crate::render::istio::versions::{ImageVersion, IstioVersion};
use crate::snapshot::proxies::{Versions, image_of, is_running};
use crate::snapshot::{Fact, Kind, View, labels_of};

/// The oldest proxy that formats are checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestProxy {
    /// Its Envoy: never before the oldest that is supported, nor after the newest that is known inside an Istio.
    pub version: EnvoyVersion,
    /// Where that comes from.
    pub from: Origin,
}

/// Where the version of the oldest proxy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `proxyVersions.minimum`.
    Spec,
    /// The oldest proxy that is seen.
    Proxies,
    /// The oldest istiod that is seen.
    Istiod,
    /// Nothing could be seen: it is the oldest that is supported.
    Unknown,
}

/// What is seen of a mesh.
#[derive(Clone, Debug, Default)]
struct Seen {
    istiod: Versions,
    /// Empty where there are none, or where they may not be read.
    proxies: Versions,
}

/// The oldest proxy of a mesh.
///
/// # Errors
/// While the pods have not been read: a guess would refuse a format, and take it a moment later.
pub fn oldest_proxy(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<OldestProxy, NotAMember> {
    match minimum(istio) {
        Some(minimum) => Ok(minimum),
        None => Ok(oldest_of(&seen(view, mesh, istio)?)),
    }
}

/// What a mesh's status says of versions.
///
/// # Errors
/// While the pods have not been read.
pub fn status(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<SeenVersions, NotAMember> {
    let seen = seen(view, mesh, istio)?;
    let oldest = minimum(istio).unwrap_or_else(|| oldest_of(&seen));
    let texts = |versions: &Versions| versions.iter().take(8).map(ToString::to_string).collect();
    Ok(SeenVersions {
        istiod: texts(&seen.istiod),
        proxies: texts(&seen.proxies),
        oldest_proxy: oldest.version.to_string(),
        oldest_proxy_from: format!("{:?}", oldest.from),
    })
}

fn minimum(istio: &IstioMesh) -> Option<OldestProxy> {
    let version = istio.proxy_versions.as_ref()?.minimum.parse().ok()?;
    let from = Origin::Spec;
    Some(OldestProxy { version, from })
}

fn seen(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<Seen, NotAMember> {
    let namespace = &istio.namespace;
    let istiod = match view.objects_in(Kind::Pod, namespace) {
        Fact::Unknown => {
            return Err(pending(format!(
                "istiod in namespace {namespace} has not been read yet."
            )));
        }
        pods => pods.present().unwrap_or_default(),
    };
    let istiod = istiod.into_iter().filter(|pod| {
        let mut revisions = istio.revisions.iter();
        revisions.any(|revision| is_istiod(pod, revision))
    });
    let proxies = |fact: Fact<Versions>| match fact {
        Fact::Unknown => Err(pending("Pods with Istio's proxies have not been read yet.".into())),
        versions => Ok(versions.present().unwrap_or_default()),
    };
    let mut of_mesh = proxies(view.proxies_of(name_of(mesh)))?;
    of_mesh.extend(proxies(view.proxies_in(&root_namespace(view, istio)?))?);
    Ok(Seen {
        istiod: istiod.map(istiod_version).collect(),
        proxies: of_mesh,
    })
}

fn oldest_of(seen: &Seen) -> OldestProxy {
    let known = |versions: &Versions| versions.iter().find_map(|version| version.known());
    let istiod = known(&seen.istiod);
    let unseen = seen.proxies.is_empty() || seen.proxies.contains(&ImageVersion::Unknown);
    let of = |version: IstioVersion, from| OldestProxy {
        version: version.envoy(),
        from,
    };
    let behind = match istiod {
        Some(istiod) => of(istiod.previous(), Origin::Istiod),
        None => OldestProxy {
            version: EnvoyVersion::OLDEST_SUPPORTED,
            from: Origin::Unknown,
        },
    };
    let candidates = [
        known(&seen.proxies).map(|version| of(version, Origin::Proxies)),
        istiod.map(|version| of(version, Origin::Istiod)),
        unseen.then_some(behind),
    ];
    let oldest = candidates.into_iter().flatten().min_by_key(|proxy| proxy.version);
    oldest.unwrap_or(behind)
}

/// Whether a Pod is one of istiod's of a revision, and neither has ended nor is leaving. Ready or not: an istiod that
/// restarts is no reason to see another version.
pub fn is_istiod(pod: &Value, revision: &str) -> bool {
    let labels = labels_of(pod);
    labels.get("app").is_some_and(|app| app == "istiod")
        && labels.get("istio.io/rev").map_or("default", String::as_str) == revision
        && is_running(pod)
}

/// By the tag of its image, else, where that is a digest or a name of one's own, by the label that Istio's chart sets.
fn istiod_version(pod: &Value) -> ImageVersion {
    match image_of(pod, "discovery").map_or(ImageVersion::Unknown, ImageVersion::of_image) {
        ImageVersion::Unknown => labels_of(pod)
            .get("app.kubernetes.io/version")
            .map_or(ImageVersion::Unknown, |version| ImageVersion::of_version(version)),
        known @ ImageVersion::Istio(_) => known,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::conditions::Reason;
    use crate::crds::ProxyVersions;
    use crate::snapshot::proxies::PROXY_LABEL;
    use crate::snapshot::{Scope, Snapshot, Timings, WatchState};

    fn versions(minors: &[u16]) -> Versions {
        // 0 stands for a version that cannot be told.
        let version = |minor: &u16| match minor {
            0 => ImageVersion::Unknown,
            minor => ImageVersion::Istio(IstioVersion::new(*minor)),
        };
        minors.iter().map(version).collect()
    }

    fn oldest(istiod: &[u16], proxies: &[u16]) -> (String, Origin) {
        let seen = Seen {
            istiod: versions(istiod),
            proxies: versions(proxies),
        };
        let oldest = oldest_of(&seen);
        (oldest.version.to_string(), oldest.from)
    }

    #[test]
    fn the_oldest_proxy_that_is_seen_counts() {
        assert_eq!(oldest(&[30], &[30]), ("1.38".into(), Origin::Proxies));
        assert_eq!(oldest(&[30], &[29, 30]), ("1.37".into(), Origin::Proxies));
        assert_eq!(oldest(&[], &[30]), ("1.38".into(), Origin::Proxies));
        assert_eq!(
            oldest(&[31], &[25, 31]),
            ("1.36".into(), Origin::Proxies),
            "not supported"
        );
    }

    #[test]
    fn an_older_istiod_injects_older_proxies_a_moment_from_now() {
        assert_eq!(oldest(&[29, 31], &[31]), ("1.37".into(), Origin::Istiod));
    }

    #[test]
    fn proxies_that_cannot_be_seen_may_be_one_minor_version_behind_istiod() {
        assert_eq!(oldest(&[30, 31], &[]), ("1.37".into(), Origin::Istiod));
        assert_eq!(oldest(&[31], &[0, 31]), ("1.38".into(), Origin::Istiod));
        assert_eq!(
            oldest(&[31], &[0, 29]),
            ("1.37".into(), Origin::Proxies),
            "one is older still"
        );
        assert_eq!(oldest(&[28], &[]), ("1.36".into(), Origin::Istiod));
    }

    #[test]
    fn where_nothing_can_be_seen_it_is_the_oldest_that_is_supported() {
        assert_eq!(oldest(&[], &[]), ("1.36".into(), Origin::Unknown));
        assert_eq!(oldest(&[0], &[0, 31]), ("1.36".into(), Origin::Unknown));
    }

    fn mesh() -> ObservabilityMesh {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "m"},
                          "spec": {"mesh": {"type": "Istio"}}});
        serde_json::from_value(mesh).unwrap()
    }

    fn judged(snapshot: &Snapshot, istio: &IstioMesh) -> Result<OldestProxy, NotAMember> {
        let view = View::new(snapshot, Timestamp::UNIX_EPOCH, Timings::default());
        oldest_proxy(&view, &mesh(), istio)
    }

    fn put(snapshot: &mut Snapshot, kind: Kind, pod: Value) {
        snapshot.put(kind, Arc::new(pod), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn without_the_right_to_read_proxies_istiod_tells_and_without_that_too_nothing_does() {
        let mut snapshot = Snapshot::default().loaded();
        let istiod = json!({"metadata": {"namespace": "istio-system", "name": "istiod", "labels": {"app": "istiod"}},
                            "spec": {"containers": [{"name": "discovery", "image": "pilot:1.31.0"}]}});
        put(&mut snapshot, Kind::Pod, istiod);
        let gateway = json!({"metadata": {"namespace": "istio-system", "name": "x", "labels": {PROXY_LABEL: "x"}},
                             "spec": {"containers": [{"name": "istio-proxy", "image": "proxyv2:1.31.0"}]}});
        put(&mut snapshot, Kind::Proxy, gateway);
        let text = |snapshot: &Snapshot| {
            let oldest = judged(snapshot, &IstioMesh::default()).unwrap();
            format!("{} {:?}", oldest.version, oldest.from)
        };
        assert_eq!(text(&snapshot), "1.39 Proxies", "the root namespace's count");
        let forbid = |snapshot: &mut Snapshot, kind| {
            snapshot.set_watch(kind, &Scope::Cluster, Some(WatchState::Forbidden));
        };
        forbid(&mut snapshot, Kind::Proxy);
        assert_eq!(text(&snapshot), "1.38 Istiod");
        forbid(&mut snapshot, Kind::Pod);
        assert_eq!(text(&snapshot), "1.36 Unknown");
    }

    #[test]
    fn nothing_is_concluded_while_pods_are_being_read_unless_the_spec_says_it() {
        let snapshot = Snapshot::default();
        let pending = judged(&snapshot, &IstioMesh::default()).unwrap_err();
        assert_eq!(pending.reason, Reason::FactsPending);
        let minimum = "1.37".to_owned();
        let istio = IstioMesh {
            proxy_versions: Some(ProxyVersions { minimum }),
            ..IstioMesh::default()
        };
        assert_eq!(judged(&snapshot, &istio).unwrap().from, Origin::Spec);
    }

    #[test]
    fn istiods_version_is_of_its_image_and_for_a_digest_of_its_label() {
        let pod = |image: &str| {
            json!({"metadata": {"labels": {"app.kubernetes.io/version": "1.29.6"}},
                                     "spec": {"containers": [{"name": "discovery", "image": image}]}})
        };
        assert_eq!(istiod_version(&pod("pilot:1.31.0")).to_string(), "1.31");
        assert_eq!(istiod_version(&pod("pilot@sha256:12")).to_string(), "1.29");
        assert_eq!(istiod_version(&json!({})), ImageVersion::Unknown);
    }
}
