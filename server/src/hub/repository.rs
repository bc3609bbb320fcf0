//! A repository by what the hub says of it: the commit of a revision, the files in it, and each file's tag and size.

use std::io::Read;

use serde::Deserialize;
use ureq::http::{HeaderMap, header};

use super::client::{Answer, Ask, Client, Failure, LINKED_SIZE, LINKED_TAG, no_hub};
use super::error::HubError;
use crate::config::HubId;

/// Most bytes of a list of files. The longest ones have some thousand files.
const LIST_BYTES: u64 = 16 << 20;

/// A revision of a repository.
#[derive(Debug, Deserialize)]
pub struct Revision {
    /// Its commit.
    #[serde(rename = "sha")]
    pub commit: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Tag of its contents: a checksum.
    pub tag: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Revision {
    /// Asks which commit and files an id stands for.
    pub fn ask(client: &Client, id: &HubId) -> Result<Self, HubError> {
        let (endpoint, HubId { repository, revision }) = (client.endpoint(), id);
        let url = format!("{endpoint}/api/models/{repository}/revision/{}", revision.replace('/', "%2F"));
        client.repeat(|| {
            let answer = client.ask_once(Ask { url: &url, repository, head: false, from: 0 })?;
            let mut text = Vec::new();
            let read = answer.body.into_reader().take(LIST_BYTES).read_to_end(&mut text);
            read.map_err(|error| Failure::Passing { problem: error.to_string(), wait: None })?;
            let parsed: Self = serde_json::from_slice(&text).map_err(|error| no_hub(&url, error.to_string()))?;
            if !HubId::is_commit_name(&parsed.commit) {
                return Err(no_hub(&url, "its commit is none".to_owned()));
            }
            if id.is_commit() && parsed.commit != *revision {
                return Err(no_hub(&url, format!("it tells of the commit {}", parsed.commit)));
            }
            Ok(parsed)
        })
    }

    /// Names of the files.
    pub fn names(&self) -> Vec<&str> {
        self.siblings.iter().map(|sibling| sibling.name.as_str()).collect()
    }
}

impl RemoteFile {
    /// Asks for the tag and size of a file.
    pub fn ask(client: &Client, repository: &str, commit: &str, name: &str) -> Result<Self, HubError> {
        let url = format!("{}/{repository}/resolve/{commit}/{name}", client.endpoint());
        client.repeat(|| {
            let Answer { headers, .. } = client.ask_once(Ask { url: &url, repository, head: true, from: 0 })?;
            // A file that lies elsewhere has its own tag and size in the headers that begin with X-Linked.
            let tag = text(&headers, LINKED_TAG).or_else(|| text(&headers, header::ETAG.as_str()));
            let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
            let size = text(&headers, LINKED_SIZE).or_else(|| text(&headers, header::CONTENT_LENGTH.as_str()));
            let (name, url) = (name.to_owned(), url.clone());
            match (tag.filter(|tag| is_file_name(tag)), size.and_then(|size| size.parse().ok())) {
                (Some(tag), Some(size)) => Ok(Self { name, url, tag, size }),
                _ => Err(no_hub(&url, "it lacks a tag or a size".to_owned())),
            }
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a tag can be the name of a file: it comes from outside.
fn is_file_name(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(allowed) && !tag.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_never_leads_out_of_its_folder() {
        for tag in ["", ".", "..", "../x", "a/b", ".x", "a b", "a\0", &"a".repeat(129)] {
            assert!(!is_file_name(tag), "{tag:?}");
        }
        assert!(is_file_name("2cf24dba5fb0a30e-26_a.b"));
    }
}
