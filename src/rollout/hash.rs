//! The hash of what a workload reads (pure).
//!
//! [`Parts`] collects what is read, [`Parts::hash`] gives the [`ConfigHash`] that stands on the pod template. Two
//! properties carry everything else: the same content gives the same hash in whatever order it was collected (or agents
//! would restart for nothing), and different content never gives the same bytes to hash (or a change would be missed).
//! So parts are kept sorted, each is tagged with its kind, and each text is preceded by its length.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, Mac};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::render::EnvVar;
use crate::render::environment::{Files, Source};

/// The hash of what a workload reads: `v1:` and 64 hex digits. The version names the function that made it, see
/// [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigHash(String);

impl ConfigHash {
    /// The text that stands in the annotation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A function that makes hashes of [`Parts`]. A later one is another constant of [`Version::SUPPORTED`], beside those
/// that agents still carry: an agent is judged by the function of the version that it carries, so that an upgrade of
/// Sightline restarts nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    name: &'static str,
    /// What keeps its hashes apart from any other SHA-256 of the same bytes.
    domain: &'static [u8],
}

impl Version {
    /// The first.
    pub const V1: Self = Self {
        name: "v1",
        domain: b"sightline.dev/config-hash/v1",
    };

    /// All that this release knows.
    pub const SUPPORTED: &'static [Self] = &[Self::V1];

    /// The one that new hashes are made by.
    pub const NEWEST: Self = Self::V1;
}

/// What can be said of a hash that somebody carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the hash of the parts.
    Fits,
    /// It is another one.
    Differs,
    /// It is of a version that this release does not know.
    OtherVersion,
}

const SECRET_DOMAIN: &[u8] = b"sightline.dev/secret-value/v1";
const KEY_DOMAIN: &[u8] = b"sightline.dev/hash-key-id";

/// Kind of a part. The numbers are hashed: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ConfigMap = 1,
    Secret = 2,
    Env = 3,
    /// A variable that is read from elsewhere.
    EnvFrom = 4,
    Files = 5,
}

/// Where a value comes from: kind, object (or container), key. An empty key stands for the object itself, whose
/// presence is a part of its own: no key of a ConfigMap or Secret and no variable has an empty name.
type Place = (Kind, String, String);

/// What a workload reads, as it is now.
///
/// Adding the same object twice is the same as adding it once with the union of its keys. No value of a Secret is kept:
/// it enters as HMAC-SHA-256 at once, so that neither the hash (which anyone who may read workloads sees) nor a debug
/// print of this value can be searched for a guessed password.
#[derive(Clone)]
pub struct Parts {
    key: Vec<u8>,
    parts: BTreeMap<Place, Option<Vec<u8>>>,
}

impl Parts {
    /// Nothing read yet. `secret_key` is the HMAC key: at least 32 random bytes that stay the same for as long as the
    /// hashes should. Another key gives another hash for everything that reads a Secret.
    pub fn new(secret_key: &[u8]) -> Self {
        Self {
            key: secret_key.to_vec(),
            parts: BTreeMap::new(),
        }
    }

    /// A ConfigMap of the workload's namespace, whole: `data` and `binaryData` (a mounted file is the same from
    /// either). `None`: it does not exist, which differs from an empty one. Labels and annotations do not count.
    pub fn config_map(&mut self, name: &str, object: Option<&ConfigMap>) {
        self.presence(Kind::ConfigMap, name, object.is_some());
        let Some(object) = object else { return };
        for (key, value) in object.data.iter().flatten() {
            self.put(Kind::ConfigMap, name, key, Some(value.as_bytes().to_vec()));
        }
        for (key, value) in object.binary_data.iter().flatten() {
            self.put(Kind::ConfigMap, name, key, Some(value.0.clone()));
        }
    }

    /// A Secret of the workload's namespace: the keys named by `keys`, or all where it is empty. `None`: the Secret does
    /// not exist, which differs from an empty one; a named key that is not there is a part of its own too.
    pub fn secret(&mut self, name: &str, object: Option<&Secret>, keys: &[String]) {
        self.presence(Kind::Secret, name, object.is_some());
        let Some(object) = object else { return };
        let data = object.data.clone().unwrap_or_default();
        if keys.is_empty() {
            for (key, value) in &data {
                let mac = self.secret_mac(name, key, &value.0);
                self.put(Kind::Secret, name, key, Some(mac));
            }
        }
        for key in keys {
            let mac = data.get(key).map(|value| self.secret_mac(name, key, &value.0));
            self.put(Kind::Secret, name, key, mac);
        }
    }

    /// The environment that we give to a container. No variables: no part, the hash stays as it was. The order does not
    /// count: it follows from the values (a value stands behind what it refers to).
    pub fn env(&mut self, container: &str, vars: &[EnvVar]) {
        for var in vars {
            let (kind, content) = match &var.source {
                Source::Text(value) => (Kind::Env, value.clone()),
                Source::Field(_) | Source::Secret { .. } => (Kind::EnvFrom, var.content().to_string()),
            };
            self.put(kind, container, &var.name, Some(content.into_bytes()));
        }
    }

    /// Files that we give to a container: which, and where. What they hold is a part of its own, see [`Parts::secret`].
    pub fn files(&mut self, container: &str, files: &Files) {
        let content = format!("{}{}", files.volume, files.mount);
        self.put(Kind::Files, container, "files", Some(content.into_bytes()));
    }

    /// Adds what was collected under the same key.
    pub fn add(&mut self, more: &Self) {
        if self.key.is_empty() {
            self.key.clone_from(&more.key);
        }
        self.parts.extend(more.parts.clone());
    }

    /// The hash of everything added so far.
    pub fn hash(&self) -> ConfigHash {
        self.hash_by(Version::NEWEST)
    }

    /// Judges a hash by the function of its own version.
    pub fn judge(&self, carried: &str) -> Verdict {
        self.judge_among(carried, Version::SUPPORTED)
    }

    fn judge_among(&self, carried: &str, supported: &[Version]) -> Verdict {
        let Some((version, digits)) = carried.split_once(':') else {
            return Verdict::Differs;
        };
        match supported.iter().find(|known| known.name == version) {
            Some(known) if self.hash_by(*known).0 == carried => Verdict::Fits,
            None if is_hash(version, digits) => Verdict::OtherVersion,
            _ => Verdict::Differs,
        }
    }

    /// Which key the values of Secrets are hashed under, as a short digest of it; `None` where there are none. A hash
    /// that was made under another key cannot be judged.
    pub fn key_id(&self) -> Option<String> {
        let has_secrets = self
            .parts
            .keys()
            .any(|(kind, _, key)| *kind == Kind::Secret && !key.is_empty());
        has_secrets.then(|| {
            let mut sha = Sha256::new();
            length_prefixed(KEY_DOMAIN, |bytes| sha.update(bytes));
            length_prefixed(&self.key, |bytes| sha.update(bytes));
            hex(&sha.finalize()).chars().take(16).collect()
        })
    }

    fn hash_by(&self, version: Version) -> ConfigHash {
        let mut sha = Sha256::new();
        length_prefixed(version.domain, |bytes| sha.update(bytes));
        for ((kind, object, key), value) in &self.parts {
            sha.update([*kind as u8]);
            length_prefixed(object.as_bytes(), |bytes| sha.update(bytes));
            length_prefixed(key.as_bytes(), |bytes| sha.update(bytes));
            sha.update([u8::from(value.is_some())]);
            length_prefixed(value.as_deref().unwrap_or_default(), |bytes| sha.update(bytes));
        }
        ConfigHash(format!("{}:{}", version.name, hex(&sha.finalize())))
    }

    fn presence(&mut self, kind: Kind, object: &str, present: bool) {
        self.put(kind, object, "", present.then(Vec::new));
    }

    fn put(&mut self, kind: Kind, object: &str, key: &str, value: Option<Vec<u8>>) {
        self.parts.insert((kind, object.to_owned(), key.to_owned()), value);
    }

    fn secret_mac(&self, name: &str, key: &str, value: &[u8]) -> Vec<u8> {
        // HMAC takes a key of any length; the type says Result for the sake of other MACs.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return Vec::new();
        };
        for text in [SECRET_DOMAIN, name.as_bytes(), key.as_bytes(), value] {
            length_prefixed(text, |bytes| mac.update(bytes));
        }
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.parts.keys().collect();
        f.debug_struct("Parts").field("places", &places).finish_non_exhaustive()
    }
}

/// Whether a text has the form that hashes of every version have.
fn is_hash(version: &str, digits: &str) -> bool {
    let number = version.strip_prefix('v').unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && digits.len() == 64
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn length_prefixed(text: &[u8], mut write: impl FnMut(&[u8])) {
    write(&(text.len() as u64).to_be_bytes());
    write(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use proptest::prelude::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        ConfigMap {
            data: Some(data.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()),
            ..ConfigMap::default()
        }
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        Secret {
            data: Some(
                data.iter()
                    .map(|(k, v)| ((*k).into(), ByteString(v.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    fn hash(fill: impl FnOnce(&mut Parts)) -> ConfigHash {
        let mut parts = Parts::new(KEY);
        fill(&mut parts);
        parts.hash()
    }

    #[test]
    fn a_hash_is_judged_by_the_function_of_its_own_version() {
        let v2 = Version {
            name: "v2",
            domain: b"sightline.dev/config-hash/v2",
        };
        let mut parts = Parts::new(KEY);
        parts.config_map("m", Some(&map(&[("a", "1")])));
        let (old, new) = (parts.hash_by(Version::V1), parts.hash_by(v2));
        assert_ne!(old, new);
        let later = [Version::V1, v2];
        assert_eq!(
            parts.judge_among(old.as_str(), &later),
            Verdict::Fits,
            "an upgrade restarts nobody"
        );
        assert_eq!(parts.judge_among(new.as_str(), &later), Verdict::Fits);
        assert_eq!(parts.judge(new.as_str()), Verdict::OtherVersion, "nor does a downgrade");
        for not_ours in ["", "v2:", "v2:abc", "x:y", "garbage", &new.as_str()[1..]] {
            assert_eq!(parts.judge(not_ours), Verdict::Differs, "{not_ours}");
        }
        parts.config_map("m", Some(&map(&[("a", "2")])));
        assert_eq!(
            parts.judge_among(old.as_str(), &later),
            Verdict::Differs,
            "a change is a change in each"
        );
    }

    #[test]
    fn the_key_has_a_name_where_a_secret_is_read() {
        let mut parts = Parts::new(KEY);
        parts.config_map("m", Some(&map(&[("a", "1")])));
        assert_eq!(parts.key_id(), None);
        parts.secret("s", Some(&secret(&[("a", "1")])), &[]);
        let id = parts.key_id().unwrap();
        assert_eq!(id.len(), 16);
        let mut other = Parts::new(b"another");
        other.secret("s", Some(&secret(&[("a", "1")])), &[]);
        assert_ne!(other.key_id(), Some(id));
    }

    #[test]
    fn the_function_of_version_1_never_changes() {
        // If this fails, an upgrade would restart every agent: make a version 2 beside it instead.
        let hash = hash(|p| {
            p.config_map("grpc-logging", Some(&map(&[("a", "1"), ("b", "2")])));
            p.config_map("extra", None);
            p.secret("es", Some(&secret(&[("password", "hunter2")])), &[]);
            p.env("vk", &[EnvVar::new("ENABLE_TRACING", "1")]);
        });
        assert_eq!(
            hash.as_str(),
            "v1:293064c9a92d32a3b142061694ddcf9d86a6cbab26439fdf1e7de134a2ed27ed"
        );
    }

    #[test]
    fn a_variable_that_is_read_from_elsewhere_is_no_text_that_looks_like_it_and_parts_are_added_under_their_key() {
        let field = EnvVar::of_field("A", "metadata.name");
        let text = EnvVar::new("A", field.content().to_string());
        assert_ne!(hash(|p| p.env("c", &[field])), hash(|p| p.env("c", &[text])));
        let mut read = Parts::new(KEY);
        read.secret("s", Some(&secret(&[("a", "1")])), &[]);
        let mut all = Parts::new(&[]);
        all.add(&read);
        assert_eq!((all.hash(), all.key_id()), (read.hash(), read.key_id()));
    }

    #[test]
    fn absent_empty_and_not_read_are_three_things() {
        let not_read = hash(|_| {});
        let absent = hash(|p| p.config_map("a", None));
        let empty = hash(|p| p.config_map("a", Some(&map(&[]))));
        assert_ne!(not_read, absent);
        assert_ne!(absent, empty);
        assert_ne!(not_read, empty);
        let keys = ["password".to_owned()];
        let absent = hash(|p| p.secret("a", None, &keys));
        let no_key = hash(|p| p.secret("a", Some(&secret(&[])), &keys));
        let empty_value = hash(|p| p.secret("a", Some(&secret(&[("password", "")])), &keys));
        assert_ne!(absent, no_key);
        assert_ne!(no_key, empty_value);
    }

    #[test]
    fn kinds_are_apart_and_a_secret_is_never_hashed_plain() {
        let as_map = hash(|p| p.config_map("a", Some(&map(&[("k", "v")]))));
        let as_secret = hash(|p| p.secret("a", Some(&secret(&[("k", "v")])), &[]));
        assert_ne!(as_map, as_secret);
        assert_ne!(
            hash(|p| p.config_map("a", None)),
            hash(|p| p.secret("a", None, &[])),
            "absent, each of its kind"
        );
        let mut other_key = Parts::new(b"another key");
        other_key.secret("a", Some(&secret(&[("k", "v")])), &[]);
        assert_ne!(
            as_secret,
            other_key.hash(),
            "without the key, the value cannot be guessed from the hash"
        );
        assert!(!format!("{other_key:?}").contains("another"), "the key is not printed");
    }

    #[test]
    fn contents_that_concatenate_to_the_same_text_differ() {
        let of = |data: &[(&str, &str)]| hash(|p| p.config_map("m", Some(&map(data))));
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        // A value that spells what stands between two entries.
        assert_ne!(of(&[("a", "1\u{1}mb\u{1}2")]), of(&[("a", "1"), ("b", "2")]));
        let named = |name: &str, key: &str| hash(|p| p.config_map(name, Some(&map(&[(key, "")]))));
        assert_ne!(named("ab", "c"), named("a", "bc"));
        let mac = |name: &str, key: &str| hash(|p| p.secret(name, Some(&secret(&[(key, "v")])), &[]));
        assert_ne!(mac("ab", "c"), mac("a", "bc"));
    }

    #[test]
    fn only_the_named_keys_of_a_secret_count_and_reading_twice_is_a_union() {
        let keys = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let before = secret(&[("a", "1"), ("b", "2")]);
        let after = secret(&[("a", "1"), ("b", "3")]);
        let read = |s: &Secret, names: &[&str]| hash(|p| p.secret("s", Some(s), &keys(names)));
        assert_eq!(read(&before, &["a"]), read(&after, &["a"]));
        assert_ne!(read(&before, &["b"]), read(&after, &["b"]));
        let twice = hash(|p| {
            p.secret("s", Some(&before), &keys(&["b"]));
            p.secret("s", Some(&before), &keys(&["a"]));
        });
        assert_eq!(twice, read(&before, &["a", "b"]));
    }

    #[test]
    fn a_file_is_the_same_from_data_and_from_binary_data() {
        let binary = ConfigMap {
            binary_data: Some(BTreeMap::from([("k".to_owned(), ByteString(b"v".to_vec()))])),
            ..ConfigMap::default()
        };
        assert_eq!(
            hash(|p| p.config_map("a", Some(&binary))),
            hash(|p| p.config_map("a", Some(&map(&[("k", "v")]))))
        );
    }

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Read {
        Map(String, Option<BTreeMap<String, String>>),
        Secret(String, Option<BTreeMap<String, String>>),
        Env(String, BTreeMap<String, String>),
    }

    fn text() -> impl Strategy<Value = String> {
        // Few letters and lengths, so that equal concatenations of different texts are common.
        "[ab]{0,3}"
    }

    fn reads() -> impl Strategy<Value = Vec<Read>> {
        let name = || "[ab]{1,2}";
        let data = || prop::collection::btree_map("[ab]{1,2}", text(), 0..3);
        let read = prop_oneof![
            (name(), prop::option::of(data())).prop_map(|(n, d)| Read::Map(n, d)),
            (name(), prop::option::of(data())).prop_map(|(n, d)| Read::Secret(n, d)),
            (name(), data()).prop_map(|(n, d)| Read::Env(n, d)),
        ];
        // One object has one content: keep the first of each name.
        prop::collection::vec(read, 0..5).prop_map(|mut reads| {
            let mut seen = std::collections::BTreeSet::new();
            reads.retain(|read| match read {
                Read::Map(n, _) => seen.insert((0, n.clone())),
                Read::Secret(n, _) => seen.insert((1, n.clone())),
                Read::Env(n, vars) => !vars.is_empty() && seen.insert((2, n.clone())),
            });
            reads
        })
    }

    fn hash_of(reads: &[Read]) -> ConfigHash {
        let pairs = |d: &BTreeMap<String, String>| d.clone().into_iter().collect::<Vec<_>>();
        hash(|parts| {
            for read in reads {
                match read {
                    Read::Map(n, d) => {
                        let object = d.as_ref().map(|d| ConfigMap {
                            data: Some(d.clone()),
                            ..ConfigMap::default()
                        });
                        parts.config_map(n, object.as_ref());
                    }
                    Read::Secret(n, d) => {
                        let object = d.as_ref().map(|d| {
                            let pairs = pairs(d);
                            let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                            secret(&pairs)
                        });
                        parts.secret(n, object.as_ref(), &[]);
                    }
                    Read::Env(n, d) => {
                        let vars: Vec<_> = pairs(d).into_iter().map(|(k, v)| EnvVar::new(k, v)).collect();
                        parts.env(n, &vars);
                    }
                }
            }
        })
    }

    proptest! {
        #[test]
        fn the_hash_is_equal_exactly_when_the_content_is(a in reads(), b in reads()) {
            let sorted = |reads: &[Read]| { let mut r = reads.to_vec(); r.sort(); r };
            prop_assert_eq!(hash_of(&a) == hash_of(&b), sorted(&a) == sorted(&b));
            let mut reversed = a.clone();
            reversed.reverse();
            prop_assert_eq!(hash_of(&a), hash_of(&reversed));
        }
    }
}
