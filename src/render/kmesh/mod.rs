//! Kmesh: the switches of its daemons, what they answer, and what they export.
//!
//! Kmesh has no object for its telemetry. Each daemon has switches behind HTTP on its own loopback (port 15200), which it
//! forgets when it restarts and which nobody can read back. So what is known of them is what was asked for. Source of the
//! facts: Kmesh's sources at 1.0.0, 1.1.0, 1.2.0 (`pkg/status/status_server.go`, `pkg/controller/telemetry`).

pub mod conversation;
pub mod scrape;
pub mod switches;

pub use conversation::{Answer, Conversation, Known, Question, Taken, Trouble};
pub use switches::{KmeshVersion, Switch, Switches};

/// Port of a daemon's own server, on the loopback of its pod: it is reached by port-forward alone.
pub const ADMIN_PORT: u16 = 15200;
/// Label `app` of the daemons' pods.
pub const APP: &str = "kmesh";
/// Their container.
pub const CONTAINER: &str = "kmesh";
