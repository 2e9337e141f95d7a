//! The cluster of the demo: one of its own, or a context of the user's kubeconfig, which is left as it was found.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use serde_json::Value;
use tokio::process::Command;

use crate::control_plane::{ControlPlane, Options, find_binaries, run_with_input};
use crate::wait::until;
use crate::world::{World, text};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAMESPACES: &str = "/api/v1/namespaces";
const MESHES: &str = "/apis/sightline.dev/v1alpha1/observabilitymeshes";
const CLUSTER_ROLES: [&str; 2] = [
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
];
/// Name of the cluster role and its binding in `config/rbac`.
const CLUSTER_ROLE: &str = "sightline";

/// A cluster that the demo runs on.
pub struct Cluster {
    client: Client,
    /// The folder with kubectl and the rest.
    bin: PathBuf,
    /// Arguments and environment that make kubectl speak to this cluster.
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    kind: Kind,
}

enum Kind {
    /// Started by the demo, and taken down with all that is in it.
    Own(Box<ControlPlane>),
    /// The user's. The folder is for the demo's files and goes with this value.
    Users { files: tempfile::TempDir },
}

impl Cluster {
    /// Starts a control plane.
    pub async fn start() -> anyhow::Result<Self> {
        let bin = find_binaries().await?;
        let options = Options {
            bin: Some(bin.clone()),
            ..Options::default()
        };
        let control_plane = ControlPlane::start(options).await?;
        Ok(Self {
            client: control_plane.client()?,
            bin,
            arguments: Vec::new(),
            environment: vec![
                ("KUBECONFIG", control_plane.kubeconfig().into()),
                ("KUBECACHEDIR", control_plane.dir().join("kubectl-cache").into()),
            ],
            kind: Kind::Own(Box::new(control_plane)),
        })
    }

    /// Takes a context of the user's kubeconfig. Writes nothing.
    pub async fn of_context(context: &str) -> anyhow::Result<Self> {
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_kubeconfig(&options)
            .await
            .with_context(|| format!("the kubeconfig gives no cluster for DEMO_CLUSTER={context}"))?;
        let files = tempfile::Builder::new().prefix("sightline-demo-").tempdir()?;
        Ok(Self {
            client: Client::try_from(config)?,
            bin: find_binaries().await?,
            arguments: vec![format!("--context={context}")],
            environment: vec![("KUBECACHEDIR", files.path().join("kubectl-cache").into())],
            kind: Kind::Users { files },
        })
    }

    /// The control plane, where the demo started one.
    pub fn own(&self) -> Option<&ControlPlane> {
        match &self.kind {
            Kind::Own(control_plane) => Some(control_plane),
            Kind::Users { .. } => None,
        }
    }

    /// A folder for the demo's files, removed at the end.
    pub fn files(&self) -> &Path {
        match &self.kind {
            Kind::Own(control_plane) => control_plane.dir(),
            Kind::Users { files } => files.path(),
        }
    }

    /// The path of Istio's CRDs.
    pub fn istio_crds(&self) -> PathBuf {
        self.bin.with_file_name("crds").join("istio.yaml")
    }

    /// The API server's version.
    pub async fn version(&self) -> anyhow::Result<String> {
        let version = self.get("/version").await?.context("no /version")?;
        Ok(text(&version, "/gitVersion").to_owned())
    }

    /// An object by its path in the API, or nothing.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let request = axum::http::Request::get(path).body(Vec::new())?;
        match self.client.request(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("GET {path}")),
        }
    }

    /// The items of a list by its path in the API; none where the kind is not known.
    pub async fn items(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let list = self.get(path).await?.unwrap_or_default();
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Runs kubectl and gives its stdout.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with_input(arguments, "").await
    }

    /// Runs kubectl with an input and gives its stdout.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.bin.join("kubectl"));
        command
            .args(&self.arguments)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Ctrl-C is for us to handle: a kubectl that cleans up must not die of it.
            .process_group(0)
            .kill_on_drop(true);
        run_with_input(command, &format!("kubectl {}", arguments.join(" ")), input).await
    }

    /// Writes a kubeconfig with a token of a service account, as the README tells people to.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let view = ["config", "view", "--minify", "--flatten", "--raw", "-o", "json"];
        let mut kubeconfig: Value = serde_json::from_str(&self.kubectl(&view).await?)?;
        let token = ["create", "token", account, "-n", namespace, "--duration=1h"];
        let token = self.kubectl(&token).await?;
        let user = serde_json::json!([{"name": account, "user": {"token": token.trim()}}]);
        let members = kubeconfig.as_object_mut().context("the kubeconfig is no object")?;
        members.insert("users".to_owned(), user);
        let context = kubeconfig.pointer_mut("/contexts/0/context/user");
        *context.context("the kubeconfig has no context")? = account.into();
        let path = self.files().join("operator.kubeconfig");
        let mut file = tempfile::NamedTempFile::new_in(self.files())?;
        std::io::Write::write_all(&mut file, kubeconfig.to_string().as_bytes())?;
        file.persist(&path)?;
        Ok(path)
    }

    /// Refuses a cluster that holds something that the demo would change or take away. Only reads.
    pub async fn refuse_if_in_use(&self, world: &World) -> anyhow::Result<()> {
        let found = self.found(world).await?;
        if found.is_empty() {
            return Ok(());
        }
        let shown = found
            .iter()
            .take(8)
            .fold(String::new(), |text, what| text + "  " + what + "\n");
        let more = match found.len().saturating_sub(8) {
            0 => String::new(),
            more => format!("  and {more} more\n"),
        };
        bail!(
            "the demo makes these itself and removes them at its end, but the cluster has them already:\n{shown}{more}\
             Nothing was written. Use a cluster without Istio and Sightline, or leave DEMO_CLUSTER unset: the demo then\n\
             starts a cluster of its own."
        );
    }

    /// What the cluster has of what the demo makes, and all of Istio and Sightline.
    async fn found(&self, world: &World) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for name in self.names(CRDS).await? {
            if name.ends_with(".sightline.dev") || name.ends_with(".istio.io") {
                found.push(format!("CustomResourceDefinition {name}"));
            }
        }
        let ours = world.namespaces();
        let namespaces = self.names(NAMESPACES).await?;
        found.extend(namespaces.intersection(&ours).map(|name| format!("Namespace {name}")));
        for path in CLUSTER_ROLES {
            if let Some(role) = self.get(&format!("{path}/{CLUSTER_ROLE}")).await? {
                found.push(format!("{} {CLUSTER_ROLE}", text(&role, "/kind")));
            }
        }
        Ok(found)
    }

    /// The API server tries once to delete the instances of a CRD, fails where it has just begun to serve the kind
    /// ("storage is (re)initializing"), and tries again when the CRD changes.
    async fn nudge_crds(&self) -> anyhow::Result<()> {
        for crd in self.items(CRDS).await? {
            let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
            let failed = |condition: &Value| text(condition, "/reason") == "InstanceDeletionFailed";
            if conditions.is_some_and(|all| all.iter().any(failed)) {
                let (name, version) = (text(&crd, "/metadata/name"), text(&crd, "/metadata/resourceVersion"));
                let note = format!("sightline.dev/demo={version}");
                self.kubectl(&["annotate", "--overwrite", "crd", name, &note]).await?;
            }
        }
        Ok(())
    }

    async fn names(&self, path: &str) -> anyhow::Result<BTreeSet<String>> {
        let items = self.items(path).await?;
        Ok(items
            .iter()
            .map(|item| text(item, "/metadata/name").to_owned())
            .collect())
    }

    /// Ends the control plane, or takes all that the demo made out of the user's cluster and waits until it is gone.
    pub async fn clean_up(self, world: &World, crds: &Path) -> anyhow::Result<()> {
        if let Kind::Own(control_plane) = self.kind {
            return control_plane.stop().await;
        }
        // The operator is gone: nobody else takes its finalizer away.
        for mesh in self.names(MESHES).await? {
            let patch = r#"{"metadata": {"finalizers": null}}"#;
            self.kubectl(&["patch", "omesh", &mesh, "--type=merge", "-p", patch])
                .await?;
        }
        let istio = self.istio_crds();
        for path in [crds, &istio] {
            let path = path.to_str().context("the path is not UTF-8")?;
            self.kubectl(&["delete", "--ignore-not-found", "--wait=false", "-f", path])
                .await?;
        }
        let role = ["clusterrole,clusterrolebinding", CLUSTER_ROLE];
        self.kubectl(&["delete", "--ignore-not-found", role[0], role[1]])
            .await?;
        let namespaces = world.namespaces();
        let mut delete = vec!["delete", "namespace", "--ignore-not-found", "--wait=false"];
        delete.extend(namespaces.iter().map(String::as_str));
        self.kubectl(&delete).await?;
        // Events about cluster-scoped objects stand in `default`.
        for event in self.items("/apis/events.k8s.io/v1/namespaces/default/events").await? {
            if text(&event, "/regarding/apiVersion").starts_with("sightline.dev/") {
                let name = text(&event, "/metadata/name");
                let delete = [
                    "delete",
                    "event.v1.events.k8s.io",
                    "-n",
                    "default",
                    "--ignore-not-found",
                    name,
                ];
                self.kubectl(&delete).await?;
            }
        }
        until("all that the demo made is gone from the cluster", async || {
            let left = self.found(world).await?;
            if left.is_empty() {
                return Ok(Ok(()));
            }
            self.nudge_crds().await?;
            Ok(Err(left.join(", ")))
        })
        .await
    }
}
