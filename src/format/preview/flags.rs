//! Response flags: why a request failed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::nearest;

/// Short and long names by bit: the order of Envoy's `CoreResponseFlag`, the same in 1.36 to 1.40. Requests and
/// connections that got each of them were logged by its bit and no other in Envoy 1.36.4 and 1.40.0, but for LR, IH,
/// UMSDR, RFCF, NFCF and OM, which stand where the ones around them leave no other place than the source's.
pub const RESPONSE_FLAGS: [(&str, &str); 30] = [
    ("LH", "FailedLocalHealthCheck"),
    ("UH", "NoHealthyUpstream"),
    ("UT", "UpstreamRequestTimeout"),
    ("LR", "LocalReset"),
    ("UR", "UpstreamRemoteReset"),
    ("UF", "UpstreamConnectionFailure"),
    ("UC", "UpstreamConnectionTermination"),
    ("UO", "UpstreamOverflow"),
    ("NR", "NoRouteFound"),
    ("DI", "DelayInjected"),
    ("FI", "FaultInjected"),
    ("RL", "RateLimited"),
    ("UAEX", "UnauthorizedExternalService"),
    ("RLSE", "RateLimitServiceError"),
    ("DC", "DownstreamConnectionTermination"),
    ("URX", "UpstreamRetryLimitExceeded"),
    ("SI", "StreamIdleTimeout"),
    ("IH", "InvalidEnvoyRequestHeaders"),
    ("DPE", "DownstreamProtocolError"),
    ("UMSDR", "UpstreamMaxStreamDurationReached"),
    ("RFCF", "ResponseFromCacheFilter"),
    ("NFCF", "NoFilterConfigFound"),
    ("DT", "DurationTimeout"),
    ("UPE", "UpstreamProtocolError"),
    ("NC", "NoClusterFound"),
    ("OM", "OverloadManagerTerminated"),
    ("DF", "DnsResolutionFailed"),
    ("DO", "DropOverload"),
    ("DR", "DownstreamRemoteReset"),
    ("UDO", "UnconditionalDropOverload"),
];

/// A flag that Envoy has, by its bit.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String", into = "String")]
pub struct ResponseFlag(usize);

/// Envoy has no flag of this short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Envoy has no response flag `{name}`; {hint}")]
pub struct UnknownFlag {
    name: String,
    hint: String,
}

impl ResponseFlag {
    /// The flag of this short name.
    ///
    /// # Errors
    ///
    /// There is none; the error proposes one.
    pub fn of(name: &str) -> Result<Self, UnknownFlag> {
        let bit = RESPONSE_FLAGS.iter().position(|(short, _)| *short == name);
        bit.map(Self).ok_or_else(|| {
            let names = RESPONSE_FLAGS.into_iter().map(|(short, _)| short);
            let hint = match nearest(&name.to_ascii_uppercase(), names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write short names as Envoy logs them, such as UF, UH or NR".to_owned(),
            };
            UnknownFlag {
                name: name.to_owned(),
                hint,
            }
        })
    }

    /// Its bit in `response.flags`.
    pub const fn bit(self) -> usize {
        self.0
    }

    /// As `RESPONSE_FLAGS` prints it.
    pub fn short(self) -> &'static str {
        RESPONSE_FLAGS.get(self.0).map_or("", |(short, _)| short)
    }

    /// As `RESPONSE_FLAGS_LONG` prints it.
    pub fn long(self) -> &'static str {
        RESPONSE_FLAGS.get(self.0).map_or("", |(_, long)| long)
    }
}

impl fmt::Display for ResponseFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl TryFrom<String> for ResponseFlag {
    type Error = UnknownFlag;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::of(&name)
    }
}

impl From<ResponseFlag> for String {
    fn from(flag: ResponseFlag) -> Self {
        flag.short().to_owned()
    }
}
