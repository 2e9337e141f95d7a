//! The switches of a daemon, and which requests set them.

use std::fmt;

/// One switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Switch {
    /// Whether the kernel's part measures at all. Setting it sets all others to the same value.
    Monitoring,
    /// One line for each connection on the daemon's stdout.
    AccessLog,
    /// Metrics by workload.
    WorkloadMetrics,
    /// Metrics by connection: their labels have no bound. Since 1.1.
    ConnectionMetrics,
}

impl Switch {
    /// All of them, as status lists them.
    pub const ALL: [Self; 4] = [
        Self::AccessLog,
        Self::Monitoring,
        Self::WorkloadMetrics,
        Self::ConnectionMetrics,
    ];
    /// Those that `Monitoring` overwrites.
    pub const FINER: [Self; 3] = [Self::AccessLog, Self::WorkloadMetrics, Self::ConnectionMetrics];

    /// Its name in status: what it is for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitoring => "ServiceMetrics",
            Self::AccessLog => "AccessLog",
            Self::WorkloadMetrics => "WorkloadMetrics",
            Self::ConnectionMetrics => "ConnectionMetrics",
        }
    }

    /// Its path on the daemon's server.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Monitoring => "/monitoring",
            Self::AccessLog => "/accesslog",
            Self::WorkloadMetrics => "/workload_metrics",
            Self::ConnectionMetrics => "/connection_metrics",
        }
    }
}

/// What is wanted of all switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a daemon has four switches")]
pub struct Switches {
    /// Whether somebody wants anything measured. If not, the daemon's own flag `--monitoring` stands.
    pub monitoring: bool,
    /// Lines.
    pub access_log: bool,
    /// Metrics by workload.
    pub workload_metrics: bool,
    /// Metrics by connection.
    pub connection_metrics: bool,
}

impl Switches {
    /// The wanted position of a switch.
    pub const fn of(self, switch: Switch) -> bool {
        match switch {
            Switch::Monitoring => self.monitoring,
            Switch::AccessLog => self.access_log,
            Switch::WorkloadMetrics => self.workload_metrics,
            Switch::ConnectionMetrics => self.connection_metrics,
        }
    }

    /// What sets all of them, whatever they are at: monitoring first, as it switches the others on as well, and then those
    /// that are not wanted, so that they are on for a moment only.
    pub fn from_anything(self) -> Vec<(Switch, bool)> {
        let monitoring = self.monitoring.then_some((Switch::Monitoring, true));
        monitoring.into_iter().chain(self.finer()).collect()
    }

    /// What sets those that monitoring overwrites, the unwanted first.
    pub fn finer(self) -> Vec<(Switch, bool)> {
        let mut all = Switch::FINER.map(|switch| (switch, self.of(switch))).to_vec();
        all.sort_by_key(|(_, wanted)| *wanted);
        all
    }

    /// What says all of it again to a daemon that took it before, in case that somebody else has set a switch. That
    /// monitoring was switched off shows only where another switch is refused for it, and none is that is set to off. So
    /// where nothing finer is wanted, the access log is switched on, and off again at once: what else asks would switch on
    /// all of them. (Metrics by connection do not count: a daemon of 1.0 is not asked for them.)
    pub fn again(self) -> Vec<(Switch, bool)> {
        let is_noticed = self.access_log || self.workload_metrics || !self.monitoring;
        let probe = (!is_noticed).then_some((Switch::AccessLog, true));
        probe.into_iter().chain(self.finer()).collect()
    }

    /// What leads here from what was set before.
    pub fn from(self, before: Self) -> Vec<(Switch, bool)> {
        if self.monitoring && !before.monitoring {
            return self.from_anything();
        }
        let mut changed = self.finer();
        changed.retain(|(switch, wanted)| before.of(*switch) != *wanted);
        changed
    }
}

/// A version of Kmesh, such as 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KmeshVersion {
    major: u16,
    minor: u16,
}

impl KmeshVersion {
    /// Version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The version in the answer of `/version`; `None` where it holds none, as of a build without a tag.
    pub fn of_answer(body: &str) -> Option<Self> {
        let answer: serde_json::Value = serde_json::from_str(body).ok()?;
        Self::parse(answer.get("gitVersion")?.as_str()?)
    }

    /// Reads `v1.1.0-…`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split(['.', '-', '+']);
        let mut number = || parts.next()?.parse().ok();
        Some(Self::new(number()?, number()?))
    }

    /// Whether it has a switch. Those of before 1.0 have none.
    pub fn has(self, switch: Switch) -> bool {
        match switch {
            Switch::ConnectionMetrics => self >= Self::new(1, 1),
            _ => self >= Self::new(1, 0),
        }
    }
}

impl fmt::Display for KmeshVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Switches = Switches {
        monitoring: true,
        access_log: true,
        workload_metrics: false,
        connection_metrics: false,
    };

    #[test]
    fn monitoring_goes_first_and_then_what_is_not_wanted_as_monitoring_switched_it_on() {
        let expected = [
            (Switch::Monitoring, true),
            (Switch::WorkloadMetrics, false),
            (Switch::ConnectionMetrics, false),
            (Switch::AccessLog, true),
        ];
        assert_eq!(LOG.from_anything(), expected);
    }

    #[test]
    fn where_nothing_is_wanted_the_daemons_own_flag_for_monitoring_stands() {
        let all = Switches::default().from_anything();
        assert_eq!(all, Switch::FINER.map(|switch| (switch, false)));
    }

    #[test]
    fn a_change_sets_what_changed_and_no_other_switch_even_for_a_moment() {
        let more = Switches {
            workload_metrics: true,
            ..LOG
        };
        assert_eq!(more.from(LOG), [(Switch::WorkloadMetrics, true)]);
        assert_eq!(LOG.from(LOG), []);
        let off = Switches::default();
        assert_eq!(off.from(LOG), [(Switch::AccessLog, false)]);
        assert_eq!(LOG.from(off), LOG.from_anything());
    }

    #[test]
    fn saying_it_again_asks_for_one_finer_switch_at_least_as_no_other_answer_tells_that_monitoring_is_off() {
        assert_eq!(LOG.again(), LOG.finer());
        let nothing = Switches::default();
        assert_eq!(
            nothing.again(),
            nothing.finer(),
            "whether it is on is the daemon's affair"
        );
        let by_service = Switches {
            monitoring: true,
            ..nothing
        };
        let expected = [
            (Switch::AccessLog, true),
            (Switch::AccessLog, false),
            (Switch::WorkloadMetrics, false),
            (Switch::ConnectionMetrics, false),
        ];
        assert_eq!(by_service.again(), expected);
        let by_connection = Switches {
            connection_metrics: true,
            ..by_service
        };
        assert_eq!(by_connection.again().first(), Some(&(Switch::AccessLog, true)));
    }

    #[test]
    fn versions_are_read_from_what_builds_say() {
        let of =
            |text: &str| KmeshVersion::of_answer(&format!(r#"{{"gitVersion": "{text}", "platform": "linux/amd64"}}"#));
        assert_eq!(of("v1.1.0"), Some(KmeshVersion::new(1, 1)));
        assert_eq!(of("1.2.0-rc.1+dirty"), Some(KmeshVersion::new(1, 2)));
        assert_eq!(of("unknown"), None);
        assert_eq!(KmeshVersion::of_answer("OK"), None);
        assert!(!KmeshVersion::new(1, 0).has(Switch::ConnectionMetrics));
        assert!(KmeshVersion::new(1, 10) > KmeshVersion::new(1, 9));
        assert!(!KmeshVersion::new(0, 5).has(Switch::AccessLog));
    }
}
