//! What the control plane is made of: its files, ports, users and command lines.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::ADMIN;

/// The one Node.
pub(super) const NODE: &str = "node-0";

const KWOK_STAGES: &str = include_str!("kwok-stages.yaml");
const AUDIT_POLICY: &str = include_str!("audit-policy.yaml");

/// Users with a token of their own, so that the audit log tells them apart, and their groups. The two `system:` ones get
/// their rights from the RBAC rules that the API server brings.
const USERS: [(&str, &str); 4] = [
    (ADMIN, "system:masters"),
    ("kwok", "system:masters"),
    ("system:kube-controller-manager", ""),
    ("system:kube-scheduler", ""),
];

/// One process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kwok,
}

impl Component {
    /// The name of its binary, log and pid file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    /// Its command line. Each names the folder, by which `stop_detached` knows its processes.
    pub(super) fn arguments(self, layout: &Layout) -> Vec<String> {
        match self {
            Self::Etcd => etcd(layout),
            Self::ApiServer => api_server(layout),
            Self::ControllerManager => controller_manager(layout),
            Self::Scheduler => scheduler(layout),
            Self::Kwok => kwok(layout),
        }
    }
}

fn etcd(layout: &Layout) -> Vec<String> {
    let (client, peer) = (
        layout.etcd_url(),
        format!("http://127.0.0.1:{}", layout.ports.etcd_peer),
    );
    vec![
        format!("--data-dir={}", layout.path("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Nobody wants the data after a crash of the machine.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn api_server(layout: &Layout) -> Vec<String> {
    let key = layout.path("service-account.key");
    vec![
        format!("--etcd-servers={}", layout.etcd_url()),
        format!("--cert-dir={}", layout.path("certificates")),
        format!("--secure-port={}", layout.ports.api),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        // A loopback address is refused in the Endpoints of the Service `kubernetes`, once every 10 s in the log.
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        format!("--token-auth-file={}", layout.path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", layout.path("audit-policy.yaml")),
        format!("--audit-log-path={}", layout.path("audit.log")),
        // No rotation: all of it is to be counted.
        "--audit-log-maxsize=100000".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    vec![
        format!(
            "--kubeconfig={}",
            layout.kubeconfig("system:kube-controller-manager").display()
        ),
        format!(
            "--service-account-private-key-file={}",
            layout.path("service-account.key")
        ),
        format!("--root-ca-file={}", layout.certificate().display()),
        // Each controller as itself: the rights of its user alone are not enough under RBAC.
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", layout.ports.controller_manager),
        // A paused machine or a stopped API server must not make the node unready.
        "--node-monitor-grace-period=24h".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

fn scheduler(layout: &Layout) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.kubeconfig("system:kube-scheduler").display()),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", layout.ports.scheduler),
        "--profiling=false".to_owned(),
    ]
}

fn kwok(layout: &Layout) -> Vec<String> {
    let port = layout.ports.kwok;
    vec![
        format!("--kubeconfig={}", layout.kubeconfig("kwok").display()),
        format!("--config={}", layout.path("kwok.yaml")),
        "--manage-all-nodes=true".to_owned(),
        format!("--server-address=127.0.0.1:{port}"),
        "--node-ip=127.0.0.1".to_owned(),
        format!("--node-port={port}"),
    ]
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    /// The folder of this control plane.
    pub(super) dir: PathBuf,
    /// The folder with the binaries.
    pub(super) bin: PathBuf,
    ports: Ports,
}

impl Layout {
    /// Chooses ports and writes what the components read.
    pub(super) fn create(dir: PathBuf, bin: PathBuf, more_kwok: &str) -> anyhow::Result<Self> {
        let layout = Self {
            dir,
            bin,
            ports: Ports::free()?,
        };
        for folder in ["pids", "logs", "certificates", "kubeconfigs"] {
            layout.create_folder(folder)?;
        }
        layout.write("kwok.yaml", &format!("{KWOK_STAGES}---\n{more_kwok}"))?;
        layout.write("audit-policy.yaml", AUDIT_POLICY)?;
        layout.write_users()?;
        layout.generate_key()?;
        Ok(layout)
    }

    pub(super) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    pub(super) fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api)
    }

    pub(super) fn scheduler_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.scheduler)
    }

    /// The API server's certificate, self-signed and followed by its authority; the API server writes it.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("certificates/apiserver.crt")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// Without a `:`, which would split the path where `KUBECONFIG` lists several; a namespace has no `.`, so that two users
    /// never share a file.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir
            .join("kubeconfigs")
            .join(format!("{}.kubeconfig", user.replace(':', ".")))
    }

    /// Writes a kubeconfig and gives its path.
    pub(super) fn write_kubeconfig(&self, user: &str, token: &str) -> anyhow::Result<PathBuf> {
        let cluster = json!({"server": self.server_url(), "certificate-authority": self.certificate()});
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sightline", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "sightline", "context": {"cluster": "sightline", "user": user}}],
            "current-context": "sightline",
        });
        let path = self.kubeconfig(user);
        write(&path, &format!("{kubeconfig:#}\n"))?;
        Ok(path)
    }

    fn write_users(&self) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for (user, group) in USERS {
            let token = format!("{:032x}", rand::random::<u128>());
            self.write_kubeconfig(user, &token)?;
            lines.push(format!("{token},{user},{user},\"{group}\"\n"));
        }
        self.write("tokens.csv", &lines.concat())
    }

    /// The key that signs the tokens of service accounts.
    fn generate_key(&self) -> anyhow::Result<()> {
        let output = Command::new("openssl")
            .args(["genrsa", "-out", &self.path("service-account.key"), "2048"])
            .stdin(Stdio::null())
            .output()
            .context("cannot run openssl")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "openssl made no key: {errors}");
        Ok(())
    }

    fn create_folder(&self, name: &str) -> anyhow::Result<()> {
        fs::create_dir(self.dir.join(name)).with_context(|| format!("cannot create {}", self.path(name)))
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        write(&self.dir.join(name), content)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// Readable for the owner only, as some of it is secret; Helm warns of any other kubeconfig.
fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[derive(Debug)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api: u16,
    controller_manager: u16,
    scheduler: u16,
    kwok: u16,
}

impl Ports {
    /// Six ports that are free now. All are held until the last is found, so that they differ.
    fn free() -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let mut next = || -> anyhow::Result<u16> {
            let listener = free_port()?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            etcd: next()?,
            etcd_peer: next()?,
            api: next()?,
            controller_manager: next()?,
            scheduler: next()?,
            kwok: next()?,
        })
    }
}

/// Below the range from which systems take the ports of outgoing connections: one of those could hold the API server's
/// port just when it is restarted.
pub(super) fn free_port() -> anyhow::Result<TcpListener> {
    (0..1000)
        .find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000))).ok())
        .context("no free port on the loopback interface")
}

/// A Node for kwok, with room for every pod. kwok fills in the status.
pub(super) fn node() -> anyhow::Result<Node> {
    let node = json!({
        "metadata": {
            "name": NODE,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": NODE,
            },
        },
    });
    serde_json::from_value(node).context("the node is no Node")
}
