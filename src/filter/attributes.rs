//! The attributes that Envoy has in the filter of an access log: types, versions, and what is there of them on TCP.
//!
//! Of HTTP and TCP each was asked for by a filter (`type(…) == …`, `has(…)`) in Envoy 1.36.4 to 1.40.0, but for the
//! TLS ones, which are as documented. What only Wasm has (`plugin_name`, `node`, `route_name` without `xds.`) is not
//! there.

use super::values::{Kinds, Ranges, Texts, Values};
use crate::cel::functions::Kind;
use crate::format::{EnvoyVersion, nearest};

/// What an access log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Tcp,
}

/// Whether an attribute can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    Never,
    Maybe,
    Always,
}

/// Something that has attributes or fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
    Connection,
    Upstream,
    Source,
    Destination,
    Xds,
    Metadata,
    Node,
    Locality,
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Is(Kind),
    /// Texts by lower-case name.
    Headers,
    /// Anything by name.
    Values,
    Texts,
    Message(Message),
}

/// What an attribute is on a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTcp {
    /// As on HTTP.
    Present,
    /// A map without entries.
    Empty,
    /// Not there: reading it is an error.
    Absent,
}

/// An attribute, or a field of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute {
    pub of: Message,
    pub name: &'static str,
    pub shape: Shape,
    pub on_tcp: OnTcp,
    pub since: EnvoyVersion,
}

/// Attributes that are there whatever happened, on HTTP and on TCP.
const ALWAYS: [(Message, &str); 7] = [
    (Message::Request, "time"),
    (Message::Request, "size"),
    (Message::Request, "total_size"),
    (Message::Response, "flags"),
    (Message::Response, "size"),
    (Message::Response, "total_size"),
    (Message::Connection, "mtls"),
];

/// What `request.protocol` is in each Envoy.
const PROTOCOLS: [&str; 4] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"];

impl Attribute {
    /// Whether it can be read in that Envoy.
    pub fn presence(&self, protocol: Protocol, version: EnvoyVersion) -> Presence {
        let is_old_path = self.is_path() && version < EnvoyVersion::new(1, 37);
        match (protocol, self.on_tcp) {
            _ if version < self.since => Presence::Never,
            (Protocol::Tcp, OnTcp::Absent) if is_old_path => Presence::Maybe,
            (Protocol::Tcp, OnTcp::Absent) => Presence::Never,
            (_, OnTcp::Empty) => Presence::Always,
            _ if ALWAYS.contains(&(self.of, self.name)) => Presence::Always,
            _ => Presence::Maybe,
        }
    }

    /// `request.url_path` and `request.query`, which Envoy 1.36 has on TCP too, empty.
    fn is_path(&self) -> bool {
        self.of == Message::Request && ["url_path", "query"].contains(&self.name)
    }

    /// Its values, where no proxy can have all of its kind there.
    pub fn domain(&self, protocol: Protocol) -> Option<Values> {
        let integers = |low: i128, high: i128| Some(Values::integers(Kinds::INT, &Ranges::between(low, high)));
        match (self.of, self.name) {
            (Message::Request, "url_path" | "query") if protocol == Protocol::Tcp => Some(Values::text("")),
            (Message::Request, "protocol") => {
                let texts = PROTOCOLS.map(str::to_owned).into();
                Some(Values::texts(Texts::OneOf(texts)))
            }
            (Message::Response, "code") => integers(0, u32::MAX.into()),
            (Message::Response, "flags") => integers(0, i64::MAX.into()),
            (_, "port") => integers(0, u16::MAX.into()),
            (Message::Xds, "listener_direction") => integers(0, 2),
            _ => None,
        }
    }

    const fn since(self, major: u16, minor: u16) -> Self {
        Self {
            since: EnvoyVersion::new(major, minor),
            ..self
        }
    }
}

/// The first parts of all attributes.
pub(super) const ROOTS: &[(&str, Shape)] = &[
    ("request", Shape::Message(Message::Request)),
    ("response", Shape::Message(Message::Response)),
    ("connection", Shape::Message(Message::Connection)),
    ("upstream", Shape::Message(Message::Upstream)),
    ("source", Shape::Message(Message::Source)),
    ("destination", Shape::Message(Message::Destination)),
    ("xds", Shape::Message(Message::Xds)),
    ("metadata", Shape::Message(Message::Metadata)),
    ("filter_state", Shape::Values),
    ("upstream_filter_state", Shape::Values),
];

impl Shape {
    /// Whether what is not in it is an error to read, and what is in it is not.
    pub(super) const fn is_map(self) -> bool {
        match self {
            Self::Headers | Self::Values => true,
            Self::Message(message) => message.is_group(),
            Self::Is(_) | Self::Texts => false,
        }
    }
}

impl Message {
    /// Whether it is a map of attributes; the others are messages of Envoy's API, which have fields and no keys.
    pub(super) const fn is_group(self) -> bool {
        !matches!(self, Self::Metadata | Self::Node | Self::Locality)
    }

    /// How messages say it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Connection => "connection",
            Self::Upstream => "upstream",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Xds => "xds",
            Self::Metadata => "metadata",
            Self::Node => "xds.node",
            Self::Locality => "locality",
        }
    }

    /// The attribute of that name.
    pub(super) fn attribute(self, name: &str) -> Option<&'static Attribute> {
        self.attributes().find(|attribute| attribute.name == name)
    }

    /// The attribute with the name that is nearest to `wrong`, if any is near enough to be meant.
    pub(super) fn nearest(self, wrong: &str) -> Option<&'static str> {
        nearest(wrong, self.attributes().map(|attribute| attribute.name))
    }

    fn attributes(self) -> impl Iterator<Item = &'static Attribute> {
        ATTRIBUTES.iter().filter(move |attribute| attribute.of == self)
    }
}

/// The first part of that name.
pub(super) fn root(name: &str) -> Option<Shape> {
    ROOTS.iter().find(|(root, _)| *root == name).map(|(_, shape)| *shape)
}

/// What may be meant by an unknown first part: a first part of a similar name, or an attribute of that name.
pub(super) fn nearest_root(wrong: &str) -> Option<String> {
    let root = nearest(wrong, ROOTS.iter().map(|(root, _)| *root));
    let attribute = || {
        let found = ATTRIBUTES.iter().find(|attribute| attribute.name == wrong)?;
        Some(format!("{}.{}", found.of.name(), found.name))
    };
    root.map(str::to_owned).or_else(attribute)
}

const fn attribute(of: Message, name: &'static str, shape: Shape, on_tcp: OnTcp) -> Attribute {
    Attribute {
        of,
        name,
        shape,
        on_tcp,
        since: EnvoyVersion::OLDEST_SUPPORTED,
    }
}

/// An attribute of both HTTP and TCP.
const fn both(of: Message, name: &'static str, kind: Kind) -> Attribute {
    attribute(of, name, Shape::Is(kind), OnTcp::Present)
}

/// An attribute of HTTP alone.
const fn http(of: Message, name: &'static str, kind: Kind) -> Attribute {
    attribute(of, name, Shape::Is(kind), OnTcp::Absent)
}

/// Headers or trailers.
const fn headers(of: Message, name: &'static str) -> Attribute {
    attribute(of, name, Shape::Headers, OnTcp::Empty)
}

/// A message inside another.
const fn message(of: Message, name: &'static str, inner: Message, on_tcp: OnTcp) -> Attribute {
    attribute(of, name, Shape::Message(inner), on_tcp)
}

const ATTRIBUTES: &[Attribute] = &[
    http(Message::Request, "path", Kind::String),
    // 1.36 has an empty text on TCP.
    http(Message::Request, "url_path", Kind::String),
    http(Message::Request, "query", Kind::String),
    http(Message::Request, "host", Kind::String),
    http(Message::Request, "scheme", Kind::String),
    http(Message::Request, "method", Kind::String),
    headers(Message::Request, "headers"),
    both(Message::Request, "headers_bytes", Kind::Int).since(1, 37),
    http(Message::Request, "referer", Kind::String),
    http(Message::Request, "useragent", Kind::String),
    both(Message::Request, "time", Kind::Timestamp),
    http(Message::Request, "id", Kind::String),
    http(Message::Request, "protocol", Kind::String),
    both(Message::Request, "duration", Kind::Duration),
    both(Message::Request, "size", Kind::Int),
    both(Message::Request, "total_size", Kind::Int),
    http(Message::Response, "code", Kind::Int),
    http(Message::Response, "code_details", Kind::String),
    both(Message::Response, "flags", Kind::Int),
    http(Message::Response, "grpc_status", Kind::Int),
    headers(Message::Response, "headers"),
    both(Message::Response, "headers_bytes", Kind::Int).since(1, 37),
    headers(Message::Response, "trailers"),
    both(Message::Response, "size", Kind::Int),
    both(Message::Response, "total_size", Kind::Int),
    http(Message::Response, "backend_latency", Kind::Duration),
    both(Message::Source, "address", Kind::String),
    both(Message::Source, "port", Kind::Int),
    both(Message::Destination, "address", Kind::String),
    both(Message::Destination, "port", Kind::Int),
    both(Message::Connection, "id", Kind::Uint),
    both(Message::Connection, "mtls", Kind::Bool),
    both(Message::Connection, "requested_server_name", Kind::String),
    both(Message::Connection, "termination_details", Kind::String),
    both(Message::Connection, "transport_failure_reason", Kind::String),
    both(Message::Connection, "tls_version", Kind::String),
    both(Message::Connection, "subject_local_certificate", Kind::String),
    both(Message::Connection, "subject_peer_certificate", Kind::String),
    both(Message::Connection, "dns_san_local_certificate", Kind::String),
    both(Message::Connection, "dns_san_peer_certificate", Kind::String),
    both(Message::Connection, "uri_san_local_certificate", Kind::String),
    both(Message::Connection, "uri_san_peer_certificate", Kind::String),
    both(Message::Connection, "sha256_peer_certificate_digest", Kind::String),
    both(Message::Connection, "peer_certificate", Kind::String),
    both(Message::Upstream, "address", Kind::String),
    both(Message::Upstream, "port", Kind::Int),
    both(Message::Upstream, "local_address", Kind::String),
    both(Message::Upstream, "num_endpoints", Kind::Uint),
    both(Message::Upstream, "transport_failure_reason", Kind::String),
    both(Message::Upstream, "request_attempt_count", Kind::Uint),
    both(Message::Upstream, "cx_pool_ready_duration", Kind::Duration),
    message(Message::Upstream, "locality", Message::Locality, OnTcp::Present),
    both(Message::Upstream, "tls_version", Kind::String),
    both(Message::Upstream, "subject_local_certificate", Kind::String),
    both(Message::Upstream, "subject_peer_certificate", Kind::String),
    both(Message::Upstream, "dns_san_local_certificate", Kind::String),
    both(Message::Upstream, "dns_san_peer_certificate", Kind::String),
    both(Message::Upstream, "uri_san_local_certificate", Kind::String),
    both(Message::Upstream, "uri_san_peer_certificate", Kind::String),
    both(Message::Upstream, "sha256_peer_certificate_digest", Kind::String),
    both(Message::Upstream, "peer_certificate", Kind::String),
    message(Message::Xds, "node", Message::Node, OnTcp::Present),
    both(Message::Xds, "cluster_name", Kind::String),
    message(Message::Xds, "cluster_metadata", Message::Metadata, OnTcp::Present),
    both(Message::Xds, "listener_direction", Kind::Int),
    message(Message::Xds, "listener_metadata", Message::Metadata, OnTcp::Present),
    http(Message::Xds, "route_name", Kind::String),
    message(Message::Xds, "route_metadata", Message::Metadata, OnTcp::Absent),
    http(Message::Xds, "virtual_host_name", Kind::String),
    message(Message::Xds, "virtual_host_metadata", Message::Metadata, OnTcp::Absent),
    message(
        Message::Xds,
        "upstream_host_metadata",
        Message::Metadata,
        OnTcp::Present,
    ),
    message(
        Message::Xds,
        "upstream_host_locality_metadata",
        Message::Metadata,
        OnTcp::Present,
    ),
    both(Message::Xds, "filter_chain_name", Kind::String),
    attribute(Message::Metadata, "filter_metadata", Shape::Values, OnTcp::Present),
    attribute(
        Message::Metadata,
        "typed_filter_metadata",
        Shape::Values,
        OnTcp::Present,
    ),
    both(Message::Node, "id", Kind::String),
    both(Message::Node, "cluster", Kind::String),
    attribute(Message::Node, "metadata", Shape::Values, OnTcp::Present),
    attribute(Message::Node, "dynamic_parameters", Shape::Values, OnTcp::Present),
    message(Message::Node, "locality", Message::Locality, OnTcp::Present),
    both(Message::Node, "user_agent_name", Kind::String),
    both(Message::Node, "user_agent_version", Kind::String),
    both(Message::Node, "user_agent_build_version", Kind::Any),
    both(Message::Node, "extensions", Kind::List),
    attribute(Message::Node, "client_features", Shape::Texts, OnTcp::Present),
    both(Message::Locality, "region", Kind::String),
    both(Message::Locality, "zone", Kind::String),
    both(Message::Locality, "sub_zone", Kind::String),
];
