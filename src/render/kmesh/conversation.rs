//! What is said to a daemon, step by step, and what its answers mean. Who sends it is `cluster::kmesh`.

use std::collections::VecDeque;

use super::switches::{KmeshVersion, Switch, Switches};
use crate::conditions::{Reason, truncate};

/// Something to send to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which version it is.
    Version,
    /// Whether it runs in mode `kernel-native`. That dump is refused in the other mode, with a short answer.
    IsKernelNative,
    /// To set a switch.
    Set(Switch, bool),
}

impl Question {
    /// Method and path with query.
    pub fn request(self) -> (&'static str, String) {
        match self {
            Self::Version => ("GET", "/version".to_owned()),
            Self::IsKernelNative => ("GET", "/debug/config_dump/kernel-native".to_owned()),
            Self::Set(switch, enable) => ("POST", format!("{}?enable={enable}", switch.path())),
        }
    }
}

/// What a daemon answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status. Texts differ between versions, and some are wrong: they are told, never matched.
    pub status: u16,
    /// The body, or its beginning.
    pub body: String,
}

/// Why a daemon does not do what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It runs in mode `kernel-native`, which has no telemetry: a request to it would be dropped, or refused.
    KernelNative,
    /// It has no such switch: Kmesh before 1.0.
    TooOld,
    /// It refused, in its own words.
    Refused(String),
    /// It could not be asked, or did not answer.
    Unreachable(String),
    /// Sightline may not forward ports.
    Forbidden,
}

impl Trouble {
    /// The reason on resources.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::KernelNative => Reason::KernelNativeMode,
            Self::TooOld => Reason::DaemonTooOld,
            Self::Refused(_) => Reason::DaemonRefused,
            Self::Unreachable(_) => Reason::DaemonUnreachable,
            Self::Forbidden => Reason::Forbidden,
        }
    }
}

/// What is known of the daemon from earlier in the life of its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What was set.
    pub switches: Switches,
    /// What it took of that.
    pub taken: Taken,
}

/// What a daemon took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its version; `None` where it does not tell.
    pub version: Option<KmeshVersion>,
    /// Whether metrics by connection are wanted and it has none.
    pub lacks_connection_metrics: bool,
}

/// A conversation with a daemon.
#[derive(Clone, Debug)]
pub struct Conversation {
    wanted: Switches,
    taken: Taken,
    to_ask: VecDeque<Question>,
    /// Whether all switches have been set from anything: a refusal is final then.
    set_all: bool,
}

impl Conversation {
    /// With a container that has just started, or of which nothing is known.
    pub fn begin(wanted: Switches) -> Self {
        Self {
            wanted,
            taken: Taken::default(),
            to_ask: VecDeque::from([Question::Version, Question::IsKernelNative]),
            set_all: true,
        }
    }

    /// With one that has taken something before. What `again` says anew is that which nobody was to change.
    pub fn go_on(wanted: Switches, known: Known, again: bool) -> Self {
        let set = if again && known.switches == wanted {
            wanted.again()
        } else {
            wanted.from(known.switches)
        };
        let mut conversation = Self {
            wanted,
            taken: Taken {
                lacks_connection_metrics: known.taken.lacks_connection_metrics && wanted.connection_metrics,
                ..known.taken
            },
            to_ask: VecDeque::new(),
            set_all: false,
        };
        conversation.set(set);
        conversation
    }

    /// What to send next; `None`: it has taken everything.
    pub fn next(&self) -> Option<Question> {
        self.to_ask.front().copied()
    }

    /// Takes the answer to [`Conversation::next`].
    ///
    /// # Errors
    /// Where the daemon does not do what is wanted: nothing more is sent.
    pub fn answered(&mut self, answer: &Answer) -> Result<(), Trouble> {
        let Some(question) = self.to_ask.pop_front() else {
            return Ok(());
        };
        match (question, answer.status) {
            (Question::Version, 200) => {
                self.taken.version = KmeshVersion::of_answer(&answer.body);
                Ok(())
            }
            (Question::IsKernelNative, 200) => Err(Trouble::KernelNative),
            (Question::IsKernelNative, 400) => {
                self.set(self.wanted.from_anything());
                Ok(())
            }
            (Question::Set(..), 200) => Ok(()),
            (Question::Set(Switch::ConnectionMetrics, _), 404) => {
                self.taken.lacks_connection_metrics = self.wanted.connection_metrics;
                Ok(())
            }
            (_, 404) => Err(Trouble::TooOld),
            // Somebody has switched monitoring off: none of the others can be set.
            (Question::Set(..), 400) if !self.set_all => {
                self.set_all = true;
                self.to_ask.clear();
                self.set(self.wanted.from_anything());
                Ok(())
            }
            _ => Err(Trouble::Refused(refusal(question, answer))),
        }
    }

    /// What it has taken, at the end.
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    fn set(&mut self, switches: Vec<(Switch, bool)>) {
        for (switch, wanted) in switches {
            // A version that has none of the switches says so itself, by its 404.
            let is_lacking = self.taken.version.is_some_and(|version| !version.has(switch));
            if is_lacking && switch == Switch::ConnectionMetrics {
                self.taken.lacks_connection_metrics = wanted;
            } else {
                self.to_ask.push_back(Question::Set(switch, wanted));
            }
        }
    }
}

/// Most bytes of a daemon's own words that are told.
const MOST_WORDS: usize = 160;

fn refusal(question: Question, answer: &Answer) -> String {
    let (method, path) = question.request();
    let words: String = answer.body.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{method} {path}: {} {}", answer.status, truncate(&words, MOST_WORDS))
        .trim_end()
        .to_owned()
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

    /// A daemon as its source says.
    struct Daemon {
        version: &'static str,
        is_native: bool,
        monitoring: bool,
        posts: Vec<String>,
    }

    impl Daemon {
        const fn new(version: &'static str) -> Self {
            Self {
                version,
                is_native: false,
                monitoring: true,
                posts: Vec::new(),
            }
        }

        fn answer(&mut self, question: Question) -> Answer {
            let answer = |status, body: &str| Answer {
                status,
                body: body.to_owned(),
            };
            match question {
                Question::Version => answer(200, &format!(r#"{{"gitVersion": "{}"}}"#, self.version)),
                Question::IsKernelNative if self.is_native => answer(200, "{}"),
                Question::IsKernelNative => answer(400, "\tInvalid Client Mode\n"),
                Question::Set(switch, enable) => {
                    self.posts.push(question.request().1);
                    match switch {
                        Switch::ConnectionMetrics if self.version.starts_with("v1.0") => {
                            answer(404, "404 page not found\n")
                        }
                        Switch::Monitoring => {
                            self.monitoring = enable;
                            answer(200, "")
                        }
                        _ if enable && !self.monitoring => {
                            answer(400, "Kmesh monitoring is disabled, cannot enable it.\n")
                        }
                        _ => answer(200, ""),
                    }
                }
            }
        }

        fn talk(&mut self, mut conversation: Conversation) -> Result<Taken, Trouble> {
            while let Some(question) = conversation.next() {
                let answer = self.answer(question);
                conversation.answered(&answer)?;
            }
            Ok(conversation.taken())
        }
    }

    #[test]
    fn a_fresh_container_gets_each_switch_once_in_the_order_that_works() {
        let mut daemon = Daemon::new("v1.1.0");
        let taken = daemon.talk(Conversation::begin(LOG)).unwrap();
        assert_eq!(taken.version, Some(KmeshVersion::new(1, 1)));
        assert_eq!(
            daemon.posts,
            [
                "/monitoring?enable=true",
                "/workload_metrics?enable=false",
                "/connection_metrics?enable=false",
                "/accesslog?enable=true",
            ]
        );
    }

    #[test]
    fn a_kernel_native_daemon_gets_no_request_that_it_would_die_of() {
        let mut daemon = Daemon::new("v1.1.0");
        daemon.is_native = true;
        assert_eq!(daemon.talk(Conversation::begin(LOG)), Err(Trouble::KernelNative));
        assert_eq!(daemon.posts, Vec::<String>::new());
    }

    #[test]
    fn version_1_0_is_not_asked_for_connection_metrics_and_lacks_them_only_where_they_are_wanted() {
        let mut daemon = Daemon::new("v1.0.0");
        assert!(!daemon.talk(Conversation::begin(LOG)).unwrap().lacks_connection_metrics);
        assert!(daemon.posts.iter().all(|post| !post.starts_with("/connection")));
        let all = Switches {
            connection_metrics: true,
            ..LOG
        };
        assert!(daemon.talk(Conversation::begin(all)).unwrap().lacks_connection_metrics);
    }

    #[test]
    fn a_build_without_a_version_is_asked_and_its_404_is_what_tells() {
        let mut daemon = Daemon::new("v1.0-but-not-a-version");
        daemon.version = "v1.0x";
        let all = Switches {
            connection_metrics: true,
            ..LOG
        };
        let taken = daemon.talk(Conversation::begin(all)).unwrap();
        assert_eq!((taken.version, taken.lacks_connection_metrics), (None, true));
    }

    #[test]
    fn what_a_daemon_lacks_it_still_lacks_when_something_else_changes() {
        let all = Switches {
            connection_metrics: true,
            ..LOG
        };
        for version in ["v1.0.0", "v1.0x"] {
            let mut daemon = Daemon::new(version);
            let known = Known {
                switches: all,
                taken: daemon.talk(Conversation::begin(all)).unwrap(),
            };
            let less = Switches {
                access_log: false,
                ..all
            };
            let taken = daemon.talk(Conversation::go_on(less, known, false)).unwrap();
            assert!(taken.lacks_connection_metrics, "{version}");
            let known = Known { switches: less, taken };
            let taken = daemon.talk(Conversation::go_on(LOG, known, false)).unwrap();
            assert!(!taken.lacks_connection_metrics, "{version}: nobody wants them any more");
        }
    }

    #[test]
    fn where_somebody_has_switched_monitoring_off_the_resync_sets_all_anew_and_once() {
        let known = Known {
            switches: LOG,
            taken: Taken::default(),
        };
        let mut daemon = Daemon::new("v1.1.0");
        daemon.talk(Conversation::go_on(LOG, known, true)).unwrap();
        assert_eq!(daemon.posts.len(), 3, "monitoring is on: it is left alone");
        daemon.monitoring = false;
        daemon.posts.clear();
        daemon.talk(Conversation::go_on(LOG, known, true)).unwrap();
        assert!(daemon.posts.contains(&"/monitoring?enable=true".to_owned()));
        assert_eq!(daemon.posts.last().unwrap(), "/accesslog?enable=true");
    }

    #[test]
    fn monitoring_that_was_switched_off_is_noticed_where_nothing_finer_is_wanted_as_well() {
        let by_service = Switches {
            access_log: false,
            ..LOG
        };
        let mut daemon = Daemon::new("v1.0.0");
        let known = Known {
            switches: by_service,
            taken: daemon.talk(Conversation::begin(by_service)).unwrap(),
        };
        daemon.posts.clear();
        daemon.monitoring = false;
        daemon.talk(Conversation::go_on(by_service, known, true)).unwrap();
        assert_eq!(
            daemon.posts,
            [
                "/accesslog?enable=true",
                "/monitoring?enable=true",
                "/accesslog?enable=false",
                "/workload_metrics?enable=false",
            ]
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_daemons_own_words_and_ends_the_conversation() {
        let mut conversation = Conversation::begin(LOG);
        let answer = |status, body: &str| Answer {
            status,
            body: body.to_owned(),
        };
        conversation.answered(&answer(200, "{}")).unwrap();
        conversation.answered(&answer(400, "")).unwrap();
        let refused = conversation.answered(&answer(400, "update bpf monitoring failed: x\n"));
        let words = "POST /monitoring?enable=true: 400 update bpf monitoring failed: x";
        assert_eq!(refused, Err(Trouble::Refused(words.to_owned())));
    }

    #[test]
    fn kmesh_before_1_0_has_no_switches() {
        let mut conversation = Conversation::begin(LOG);
        let not_found = Answer {
            status: 404,
            body: "404 page not found\n".to_owned(),
        };
        assert_eq!(conversation.answered(&not_found), Err(Trouble::TooOld));
    }
}
