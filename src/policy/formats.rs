//! From the formats that users write to compiled ones.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::conditions::{ConditionType, Finding};
use crate::crds::{Encoding, FormatPreset, IstioMesh, LineFormat, LogFormat, ObservabilityMesh, Permission};
use crate::format::{self, CompiledFormat, EnvoyVersion, FormatErrors};
use crate::policy::membership::name_of;
use crate::policy::versions::oldest_proxy;
use crate::snapshot::View;

/// A compiled line, and whether what is absent is left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The format.
    pub format: Arc<CompiledFormat>,
    /// Whether what is absent is left out.
    pub omit_empty_values: bool,
}

/// The lines of a format: of requests, and of TCP connections where they have one of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Of requests; of TCP connections too unless `tcp` is set.
    pub http: Line,
    /// Of TCP connections.
    pub tcp: Option<Line>,
}

/// A format that does not compile, and where.
#[derive(Clone, Debug)]
pub struct BadFormat {
    /// Path below the format: empty, or `.tcp`.
    pub path: &'static str,
    /// What is wrong.
    pub errors: Arc<FormatErrors>,
}

/// Compiles the lines of a format.
///
/// # Errors
/// The first of them that does not compile for the oldest proxy.
pub fn lines(format: &LogFormat, oldest: EnvoyVersion) -> Result<Lines, BadFormat> {
    let line = |path, line: &LineFormat| match compile(line, oldest) {
        Ok(format) => Ok(Line {
            format,
            omit_empty_values: line.omit_empty_values,
        }),
        Err(errors) => Err(BadFormat { path, errors }),
    };
    let http = line("", &format.line)?;
    let tcp = format.tcp.as_ref().map(|tcp| line(".tcp", tcp)).transpose()?;
    let tcp = tcp.filter(|tcp| *tcp != http);
    Ok(Lines { http, tcp })
}

/// The oldest Envoy that a mesh's formats have to serve.
///
/// # Errors
/// The finding while that cannot be told.
pub fn oldest_envoy(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<EnvoyVersion, Finding> {
    match oldest_proxy(view, mesh, istio) {
        Ok(oldest) => Ok(oldest.version),
        Err(error) => Err(Finding::unknown(ConditionType::Accepted, error.reason, error.message)),
    }
}

/// What compiling a line gives.
type CompiledOrNot = Result<Arc<CompiledFormat>, Arc<FormatErrors>>;

/// Compiled lines by what was compiled.
type CompiledLines = HashMap<(LineFormat, EnvoyVersion), CompiledOrNot>;

/// Most compiled lines that are remembered.
const REMEMBERED_LINES: usize = 4096;

/// Compiles a line as users write it.
///
/// Every pass over a namespace needs the formats of all its policies, and they seldom change: results are remembered,
/// by content, so that what is remembered can never be wrong.
fn compile(line: &LineFormat, oldest: EnvoyVersion) -> CompiledOrNot {
    static REMEMBERED: LazyLock<Mutex<CompiledLines>> = LazyLock::new(Mutex::default);
    let key = (line.clone(), oldest);
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = remembered.get(&key) {
        return compiled.clone();
    }
    if remembered.len() >= REMEMBERED_LINES {
        remembered.clear();
    }
    let compiled = compile_anew(line, oldest).map(Arc::new).map_err(Arc::new);
    remembered.insert(key, compiled.clone());
    compiled
}

fn compile_anew(line: &LineFormat, oldest: EnvoyVersion) -> Result<CompiledFormat, FormatErrors> {
    format::compile(&spec(line), oldest).map(|compiled| compiled.format)
}

/// A line as the compiler reads it.
pub fn spec(line: &LineFormat) -> format::FormatSpec {
    let base = match (&line.text, line.preset) {
        (Some(text), _) => format::Base::Text(text.clone()),
        (None, Some(FormatPreset::Istio)) => format::Base::Preset(format::Preset::Istio),
        (None, Some(FormatPreset::Envoy)) => format::Base::Preset(format::Preset::Envoy),
        (None, None) => format::Base::Empty,
    };
    let encoding = match line.encoding {
        Encoding::Text => format::Encoding::Text,
        Encoding::Json => format::Encoding::Json,
    };
    let field = |f: &crate::crds::FormatField| format::Field {
        name: f.name.clone(),
        value: f.value.clone(),
        nest: f.nest,
    };
    format::FormatSpec {
        encoding,
        base,
        fields: line.fields.iter().map(field).collect(),
        omit: line.omit.clone(),
    }
}

/// The format that a policy may have, its own where the mesh's tenancy allows it; else `None`, with a sentence that says
/// so.
pub fn permitted<'m>(
    mesh: &ObservabilityMesh,
    own: Option<&'m LogFormat>,
    is_tenant: bool,
) -> (Option<&'m LogFormat>, Option<String>) {
    let Some(own) = own else { return (None, None) };
    let tenancy = &mesh.spec.tenancy;
    let is_custom = |line: &LineFormat| line.text.is_some() || !line.fields.is_empty();
    let denied = if !is_tenant {
        None
    } else if tenancy.override_format == Permission::Denied {
        Some("only the mesh's own format (tenancy.overrideFormat: Denied)")
    } else if tenancy.custom_formats == Permission::Denied && own.lines().any(|(_, line)| is_custom(line)) {
        Some("only presets (tenancy.customFormats: Denied)")
    } else {
        None
    };
    let Some(what) = denied else {
        return (Some(own), None);
    };
    let name = name_of(mesh);
    let message = format!("spec.format: ObservabilityMesh {name} allows tenants {what}; the mesh's format is used.");
    (None, Some(message))
}
