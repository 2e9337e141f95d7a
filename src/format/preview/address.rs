//! Addresses as Envoy prints them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// `10.0.0.1:80`, `[::1]:80`, `envoy://LISTENER/ENDPOINT` (an internal listener's), or the path of a Unix socket.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Address(String);

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Address {
    /// With its port.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn socket(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }

    /// `None` where it has none.
    pub fn port(&self) -> Option<u16> {
        self.socket().map(|socket| socket.port())
    }

    /// What has no port is printed whole.
    pub fn without_port(&self) -> String {
        self.socket()
            .map_or_else(|| self.0.clone(), |socket| socket.ip().to_string())
    }

    /// The network that it is in: `10.0.0.0/8`. More bits than an address has are all that it has. What is no IP address
    /// is in none: empty.
    pub fn masked(&self, bits: u8) -> String {
        let Some(socket) = self.socket() else {
            return String::new();
        };
        match socket.ip() {
            IpAddr::V4(address) => {
                let bits = u32::from(bits.min(32));
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                format!("{}/{bits}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let bits = u32::from(bits.min(128));
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                format!("{}/{bits}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }

    /// The endpoint of an internal listener's address; empty for all others.
    pub fn endpoint_id(&self) -> &str {
        let internal = self.0.strip_prefix("envoy://");
        internal
            .and_then(|rest| rest.split_once('/'))
            .map_or("", |(_, endpoint)| endpoint)
    }
}

/// A host name without its port, where it has one.
pub(super) fn strip_port(host: &str) -> &str {
    let Some((name, port)) = host.rsplit_once(':') else {
        return host;
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_bare_v6 = name.contains(':') && !name.ends_with(']');
    if is_port && !is_bare_v6 { name } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_with_and_without_their_port_and_as_networks() {
        let v4 = Address::from("10.44.129.27:9080");
        assert_eq!((v4.without_port().as_str(), v4.port()), ("10.44.129.27", Some(9080)));
        for (bits, network) in [
            (0, "0.0.0.0/0"),
            (8, "10.0.0.0/8"),
            (17, "10.44.128.0/17"),
            (33, "10.44.129.27/32"),
        ] {
            assert_eq!(v4.masked(bits), network);
        }
        let v6 = Address::from("[2001:db8::1:2]:80");
        assert_eq!((v6.without_port().as_str(), v6.port()), ("2001:db8::1:2", Some(80)));
        assert_eq!(v6.masked(32), "2001:db8::/32");
        assert_eq!(v6.masked(129), "2001:db8::1:2/128");
        let pipe = Address::from("/run/a.sock");
        assert_eq!(
            (pipe.without_port().as_str(), pipe.port(), pipe.masked(8)),
            ("/run/a.sock", None, String::new())
        );
        assert_eq!(Address::from("envoy://inner/e1").endpoint_id(), "e1");
        assert_eq!(v4.endpoint_id(), "");
    }

    #[test]
    fn a_host_name_loses_its_port_only() {
        for (host, name) in [
            ("a:80", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("::1", "::1"),
            ("a:b", "a:b"),
            ("a:", "a:"),
        ] {
            assert_eq!(strip_port(host), name);
        }
    }
}
