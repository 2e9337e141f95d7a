//! `sightline lint --cluster`: what is in force in a cluster, as texts that are checked like files.

use std::collections::BTreeSet;

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, stream};
use kube::api::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::Value;

use crate::cli::run;
use crate::cluster::api::{self, CallError};
use crate::cluster::once;
use crate::crds::ObservabilityMesh;
use crate::lint::{SERVED, ServedKind};
use crate::policy::membership::{istio_of, maps_of};
use crate::snapshot::{Key, Kind, Scope, key_of};
use crate::yaml;

/// Lists that are asked for at once.
const AT_ONCE: usize = 8;

/// Every namespace has this map, of a certificate.
const CERTIFICATE_MAP: &str = "istio-ca-root-cert";

/// Flags for what is in a cluster.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Checks what is in the cluster of the kubeconfig: our own kinds, Istio's Telemetry and EnvoyFilter, Envoy Gateway's
    /// EnvoyProxy and EnvoyPatchPolicy, Kuma's Mesh, MeshAccessLog and MeshTrace, and the ConfigMaps with a MeshConfig:
    /// those named istio or istio-*, and those that an ObservabilityMesh names. Kinds that the cluster does not know, or
    /// that you may not list, are named on stderr and are no failure as long as one can be read. Needs get and list.
    #[arg(long, conflicts_with_all = ["text", "explain"])]
    cluster: bool,
    /// Namespace to look into; objects without a namespace are left out. Default: all.
    #[arg(short, long, value_name = "NAMESPACE", requires = "cluster")]
    namespace: Option<String>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "CONTEXT", requires = "cluster")]
    context: Option<String>,
}

/// What was read of a cluster.
#[derive(Debug, Default)]
pub struct Read {
    /// What to call an object, `cluster:KIND/NAMESPACE/NAME`, and its YAML.
    pub texts: Vec<(String, String)>,
    /// Kinds that were not looked at, and why.
    pub unseen: Vec<String>,
    /// What should have been read and could not be.
    pub failures: Vec<String>,
}

impl ClusterArgs {
    /// Whether a cluster is asked for.
    pub const fn is_wanted(&self) -> bool {
        self.cluster
    }

    /// Reads the cluster.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(&self) -> anyhow::Result<Read> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start")?.block_on(async {
            let client = Client::try_from(self.config().await?).context("no cluster")?;
            Ok(self.read_all(&client).await)
        })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        match &self.context {
            Some(context) => run::config_of_context(context, "lint").await,
            None => run::config("lint").await,
        }
    }

    async fn read_all(&self, client: &Client) -> Read {
        let mut read = Read::default();
        let mut maps = BTreeSet::new();
        let mut is_one_read = false;
        let wanted = SERVED
            .iter()
            .filter(|kind| kind.is_namespaced || self.namespace.is_none());
        let lists = stream::iter(wanted).map(async |kind| {
            let listed = once::list(client, &resource(kind), &self.scope(), None).await;
            (kind, listed)
        });
        let lists: Vec<_> = lists.buffered(AT_ONCE).collect().await;
        for (kind, listed) in lists {
            let Some(objects) = read.seen(&full_name(kind), listed) else {
                continue;
            };
            is_one_read = true;
            for object in objects {
                if kind.kind == "ObservabilityMesh" {
                    maps.extend(named_maps(&object));
                }
                read.take(kind.api_version, kind.kind, object);
            }
        }
        is_one_read |= self.read_maps(client, &maps, &mut read).await;
        if !is_one_read && read.failures.is_empty() {
            read.failures.push("nothing of the cluster could be read".to_owned());
        }
        read
    }

    /// Whether the maps could be listed.
    async fn read_maps(&self, client: &Client, named: &BTreeSet<Key>, read: &mut Read) -> bool {
        let (api_version, kind, plural) = Kind::ConfigMap.names();
        let resource = api::resource(Kind::ConfigMap);
        let listed = once::names(client, &resource, &self.scope()).await;
        let Some(keys) = read.seen(plural, listed) else {
            return false;
        };
        let is_istios = |name: &str| name == "istio" || name.starts_with("istio-") && name != CERTIFICATE_MAP;
        let wanted = keys
            .into_iter()
            .filter(|key| is_istios(&key.name) || named.contains(key));
        let maps = stream::iter(wanted).map(async |key| {
            let listed = once::list(client, &resource, &Scope::Object(key.clone()), None).await;
            (format!("{plural} {key}"), listed)
        });
        let maps: Vec<_> = maps.buffered(AT_ONCE).collect().await;
        for (what, listed) in maps {
            for map in read.seen(&what, listed).into_iter().flatten() {
                read.take(api_version, kind, map);
            }
        }
        true
    }

    fn scope(&self) -> Scope {
        self.namespace.clone().map_or(Scope::Cluster, Scope::Namespace)
    }
}

impl Read {
    /// What a call gave; what it did not give is noted.
    fn seen<T>(&mut self, what: &str, answer: Result<T, CallError>) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        match error.code() {
            Some(404) => self.unseen.push(format!("{what}: the cluster does not know this kind")),
            Some(401 | 403) => {
                let why = error.refusal().unwrap_or_default();
                self.unseen.push(format!("{what}: no right to list them: {why}"));
            }
            _ => self.failures.push(error.to_string()),
        }
        None
    }

    /// Adds an object. Who manages which of its fields is nothing that anybody wrote.
    fn take(&mut self, api_version: &str, kind: &str, mut object: Value) {
        let key = key_of(&object);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        if let Value::Object(members) = &mut object {
            // Objects of a list do not always say what they are.
            members.shift_insert(0, "apiVersion".to_owned(), api_version.into());
            members.shift_insert(1, "kind".to_owned(), kind.into());
        }
        let namespace = match key.namespace.as_str() {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        let name = format!("cluster:{kind}/{namespace}{}", key.name);
        match yaml::to_yaml(&object) {
            Ok(text) => self.texts.push((name, text)),
            Err(error) => self.failures.push(format!("{name}: {error}")),
        }
    }
}

/// The ConfigMaps that a mesh names. One that cannot be read names none: it is checked all the same.
fn named_maps(mesh: &Value) -> BTreeSet<Key> {
    let mesh = serde_json::from_value::<ObservabilityMesh>(mesh.clone()).ok();
    let istio = mesh.as_ref().and_then(istio_of);
    istio.as_ref().map(maps_of).unwrap_or_default()
}

/// `telemetries.telemetry.istio.io`.
fn full_name(kind: &ServedKind) -> String {
    let (group, _) = kind.api_version.split_once('/').unwrap_or_default();
    format!("{}.{group}", kind.plural)
}

fn resource(kind: &ServedKind) -> ApiResource {
    let (group, version) = kind.api_version.split_once('/').unwrap_or(("", kind.api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.kind), kind.plural)
}
