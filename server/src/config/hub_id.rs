//! Ids of repositories on a hub: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
//!
//! Read by `config`. Whether there is such a repository is the hub's to say.

use std::fmt;

/// Most characters of an owner's or a repository's name.
const MAX_NAME: usize = 96;
/// Most characters of a revision.
const MAX_REVISION: usize = 255;

/// A repository of a hub, at one of its revisions. The parts are safe as names of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    /// Owner and name, such as `google/t5gemma-2b-2b-prefixlm-it`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl HubId {
    /// Branch of an id without a revision.
    pub const MAIN: &str = "main";

    /// The id that `text` spells; none if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, Self::MAIN));
        let (owner, name) = repository.split_once('/')?;
        let is_id = is_name(owner) && is_name(name) && !name.ends_with(".git") && is_revision(revision);
        is_id.then(|| Self { repository: repository.to_owned(), revision: revision.to_owned() })
    }

    /// Whether the revision is a commit, which never changes.
    pub fn is_commit(&self) -> bool {
        Self::is_commit_name(&self.revision)
    }

    /// Whether a text is the full hash of a commit.
    pub fn is_commit_name(text: &str) -> bool {
        text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let at_the_ends = |text: &str| text.starts_with(['.', '-']) || text.ends_with(['.', '-']);
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(allowed)
        && !at_the_ends(text)
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+/".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    text.len() <= MAX_REVISION && text.bytes().all(allowed) && text.split('/').all(is_part)
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if self.revision == Self::MAIN { Ok(()) } else { write!(formatter, "@{}", self.revision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_an_owner_and_a_name_and_may_have_a_revision() {
        let id = HubId::parse("google/t5gemma-2b-2b-prefixlm-it").unwrap();
        assert_eq!((id.repository.as_str(), id.revision.as_str()), ("google/t5gemma-2b-2b-prefixlm-it", "main"));
        let id = HubId::parse("a/b.c_d@refs/pr/3").unwrap();
        assert_eq!((id.repository.as_str(), id.revision.as_str(), id.is_commit()), ("a/b.c_d", "refs/pr/3", false));
        assert_eq!(id.to_string(), "a/b.c_d@refs/pr/3");
        assert!(HubId::parse("a/b@0123456789abcdef0123456789abcdef01234567").unwrap().is_commit());
    }

    #[test]
    fn what_is_a_path_or_leads_out_of_a_folder_is_no_id() {
        for text in [
            "",
            "model",
            "/models/a",
            "./a/b",
            "../a",
            "a/../b",
            "a/b/c",
            "a/",
            "/a",
            "a/.b",
            "a/b-",
            "a--b/c",
            "a/b@",
            "a/b@../x",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x/",
            "a/b.git",
            "a b/c",
            "a/b@ x",
            "ä/b",
            "~/a",
        ] {
            assert_eq!(HubId::parse(text), None, "{text:?}");
        }
    }
}
