//! The keys that may ask: read from settings, a file and the environment, and looked up by the secret of a request.
//!
//! Used by `reload`, and by `api` for every request.

use std::io;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use super::api_key::{KeyHash, KeyName};
use super::error::AccessError;
use super::small_file;

/// Name of the environment variable that holds keys.
const VARIABLE: &str = "ENCDEC_API_KEYS";

/// Where keys come from. A key is a text `NAME:HASH`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeySources {
    /// Keys of the configuration file.
    pub listed: Vec<String>,
    /// A file with one key on each line.
    pub file: Option<PathBuf>,
    /// Keys of the environment, one on each line or separated by commas.
    pub environment: Option<String>,
}

/// Hashes are not printed: they say nothing to people.
impl std::fmt::Debug for KeySources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (listed, environment) = (self.listed.len(), self.environment.is_some());
        write!(formatter, "KeySources {{ listed: {listed}, file: {:?}, environment: {environment} }}", self.file)
    }
}

/// Keys with names of their own.
#[derive(Default)]
pub struct KeyRing(Vec<Key>);

struct Key {
    name: KeyName,
    hash: KeyHash,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.names()).finish()
    }
}

impl KeySources {
    /// Whether requests need a key.
    pub fn any(&self) -> bool {
        !self.listed.is_empty() || self.file.is_some() || self.environment.is_some()
    }

    /// Reads all keys.
    ///
    /// # Errors
    /// When the file cannot be read, a line is no key, a name or a secret is taken twice, or a place for keys holds
    /// none: a server that was meant to have keys must not be open to everybody.
    pub fn read(&self) -> Result<KeyRing, AccessError> {
        let mut ring = KeyRing::default();
        ring.add_all("access.keys", self.listed.iter().map(String::as_str))?;
        if let Some(path) = &self.file {
            let text = read_file(path)?;
            ring.add_all(&path.display().to_string(), text.lines())?;
        }
        if let Some(text) = &self.environment {
            ring.add_all(VARIABLE, text.split([',', '\n']))?;
        }
        Ok(ring)
    }
}

fn read_file(path: &Path) -> Result<String, AccessError> {
    let unreadable = |error: FromUtf8Error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        AccessError::Unreadable { path: path.to_owned(), source }
    };
    String::from_utf8(small_file::read(path)?).map_err(unreadable)
}

impl KeyRing {
    /// Adds the keys of one place, at least one unless there are no lines. What follows a `#` is a comment.
    fn add_all<'a>(&mut self, origin: &str, lines: impl Iterator<Item = &'a str>) -> Result<(), AccessError> {
        let (before, mut count) = (self.0.len(), 0);
        for line in lines {
            count += 1;
            let text = line.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let key = Key::parse(text).ok_or_else(|| AccessError::NoKey { origin: origin.to_owned(), line: count })?;
            if self.names().any(|name| *name == key.name) {
                return Err(AccessError::NameTaken { origin: origin.to_owned(), name: key.name });
            }
            if let Some(other) = self.0.iter().find(|other| other.is(&key.hash)) {
                let (origin, other) = (origin.to_owned(), other.name.clone());
                return Err(AccessError::SecretTaken { origin, name: key.name, other });
            }
            self.0.push(key);
        }
        let is_listed_empty = count == 0 && origin == "access.keys";
        if self.0.len() == before && !is_listed_empty {
            return Err(AccessError::NoKeys { origin: origin.to_owned() });
        }
        Ok(())
    }

    /// The name of the key with this secret. Each key is compared, whichever it is, in constant time.
    pub fn find(&self, secret: &str) -> Option<&KeyName> {
        let hash = KeyHash::of(secret);
        let fold = |found, key| if Key::is(key, &hash) { Some(&key.name) } else { found };
        self.0.iter().fold(None, fold)
    }

    /// Names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &KeyName> {
        self.0.iter().map(|key| &key.name)
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (name, hash) = text.split_once(':')?;
        Some(Self { name: KeyName::new(name.trim())?, hash: KeyHash::parse(hash.trim())? })
    }

    fn is(&self, hash: &KeyHash) -> bool {
        self.hash.equals(hash)
    }
}

/// The keys that are valid now. Clones are the same keys.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<RwLock<Option<Present>>>);

/// Valid keys.
#[derive(Debug)]
struct Present {
    ring: Arc<KeyRing>,
    since: Instant,
}

impl Present {
    fn new(ring: KeyRing) -> Self {
        Self { ring: Arc::new(ring), since: Instant::now() }
    }
}

impl Keys {
    /// Keys of a server that asks for them.
    pub fn of(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Some(Present::new(ring)))))
    }

    /// The present keys; `None` if requests need none.
    pub fn present(&self) -> Option<Arc<KeyRing>> {
        self.read().as_ref().map(|present| Arc::clone(&present.ring))
    }

    /// Makes these keys valid, and no others.
    pub fn replace(&self, ring: KeyRing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Present::new(ring));
    }

    /// Time since the present keys became valid.
    pub fn age(&self) -> Duration {
        self.read().as_ref().map_or(Duration::ZERO, |present| present.since.elapsed())
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Present>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::api_key::NewKey;
    use super::*;

    fn new_key(name: &str) -> NewKey {
        NewKey::make(&KeyName::new(name).unwrap())
    }

    #[test]
    fn keys_of_all_places_are_found_by_their_secrets() {
        let [one, two, three] = ["one", "two", "three"].map(new_key);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, format!("# ours\n\n  {}  # since May\n", two.line)).unwrap();
        let sources = KeySources { listed: vec![one.line], file: Some(file), environment: Some(three.line + ",\n") };
        let ring = sources.read().unwrap();
        for (secret, name) in [(one.secret, "one"), (two.secret, "two"), (three.secret, "three")] {
            assert_eq!(ring.find(&secret).unwrap().as_str(), name);
            assert!(ring.find(&secret[1..]).is_none() && ring.find(&secret.to_uppercase()).is_none());
        }
        assert!(ring.find("").is_none());
        assert!(!KeySources::default().any() && sources.any());
    }

    #[test]
    fn a_line_that_is_no_key_is_named_and_not_shown() {
        let key = new_key("a");
        let in_environment = |text: &str| {
            let sources = KeySources { environment: Some(text.to_owned()), ..KeySources::default() };
            sources.read().unwrap_err().to_string()
        };
        let error = in_environment(&format!("{},\n{}", key.line, key.secret));
        assert!(error.contains("line 3 of ENCDEC_API_KEYS") && !error.contains(&key.secret), "{error}");
        assert!(in_environment("# none yet").contains("holds no key"));
        assert!(in_environment("").contains("holds no key"));
        assert!(in_environment(&format!("{0},{0}", key.line)).contains("two keys are named `a`"));
        let renamed = format!("{},{}", key.line, key.line.replacen('a', "b", 1));
        assert!(in_environment(&renamed).contains("the key `b` in ENCDEC_API_KEYS has the secret of `a`"));
        let missing = KeySources { file: Some("/nowhere/keys".into()), ..KeySources::default() };
        assert!(matches!(missing.read(), Err(AccessError::Unreadable { .. })));
    }

    #[test]
    fn no_hash_and_no_secret_is_printed() {
        let key = new_key("a");
        let sources = KeySources { environment: Some(key.line.clone()), ..KeySources::default() };
        let printed = format!("{sources:?} {:?}", Keys::of(sources.read().unwrap()));
        assert!(printed.contains("\"a\"") && !printed.contains(&key.line[2..]), "{printed}");
    }
}
