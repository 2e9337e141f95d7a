//! Certificates of a workload: a volume, where it is mounted, and the paths that variables name (pure).

use serde_json::{Value, json};

use crate::crds::{CertificateSource, OtlpTls, TlsMode};
use crate::digest;

/// Where certificates are mounted: one folder, as a container has one receiver.
pub const FOLDER: &str = "/etc/sightline/tls";
/// The certificates of authorities.
pub const CA: &str = "/etc/sightline/tls/ca.crt";
/// The workload's own certificate.
pub const CERTIFICATE: &str = "/etc/sightline/tls/tls.crt";
/// Its private key.
pub const PRIVATE_KEY: &str = "/etc/sightline/tls/tls.key";

/// A volume of a pod template and its mount in one container, as the API server keeps them: with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The volume. Its name is a digest of its content, so that containers share equal ones.
    pub volume: Value,
    /// The mount.
    pub mount: Value,
}

impl Files {
    /// The certificates of TLS; `None` where it needs none.
    pub fn of(tls: &OtlpTls) -> Option<Self> {
        if tls.mode == TlsMode::Disabled {
            return None;
        }
        let item = |key: &str, path: &str| json!({"key": key, "path": path.rsplit('/').next()});
        let mut sources = Vec::new();
        if let Some(ca) = &tls.ca_certificate_ref {
            let kind = match ca.kind {
                CertificateSource::Secret => "secret",
                CertificateSource::ConfigMap => "configMap",
            };
            sources.push(json!({kind: {"name": ca.name, "items": [item(&ca.key, CA)]}}));
        }
        if let Some(pair) = &tls.client_certificate_ref {
            let items = [
                item(&pair.certificate_key, CERTIFICATE),
                item(&pair.private_key, PRIVATE_KEY),
            ];
            sources.push(json!({"secret": {"name": pair.name, "items": items}}));
        }
        if sources.is_empty() {
            return None;
        }
        // Readable for a process that is not root, which is what the API server's default is.
        let projected = json!({"sources": sources, "defaultMode": 0o644});
        let name = format!("sightline-tls-{}", digest::short(&projected.to_string(), 12));
        Some(Self {
            mount: json!({"name": name, "mountPath": FOLDER, "readOnly": true}),
            volume: json!({"name": name, "projected": projected}),
        })
    }
}
