//! Why a checkpoint cannot be had from the hub, and what to do about it.

use std::path::PathBuf;

/// Why a checkpoint cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nothing says where fetched files belong.
    #[error("there is no folder for checkpoints of the hub: set HF_HOME, or hub.home in the configuration")]
    NoCache,
    /// The hub does not know the repository, or hides it.
    #[error(
        "{endpoint} has no repository `{repository}`, or hides it, and no folder here has that name: check the \
         spelling, and if it is private, give a token of an account that may read it in HF_TOKEN"
    )]
    NoRepository {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
    },
    /// The repository has no such revision.
    #[error("{endpoint}/{repository} has no revision `{revision}`: name a branch, a tag or a full commit after the @")]
    NoRevision {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The revision.
        revision: String,
    },
    /// The repository lists a file that it does not have.
    #[error("{endpoint}/{repository} lists the file {file} and does not have it: fetch it again later, or elsewhere")]
    NoFile {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file.
        file: String,
    },
    /// The repository's files are only for those who were granted access.
    #[error(
        "{repository} is gated: ask for access on {endpoint}/{repository}, and give a token of that account in \
         HF_TOKEN ({})",
        if *has_token { "the present token has no access" } else { "there is no token now" }
    )]
    Gated {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The hub does not accept the request as it is.
    #[error(
        "{endpoint} answers {status} for {repository}: {}",
        if *has_token { "the token is wrong, has ended or may not read it: give another in HF_TOKEN" }
        else { "give a token in HF_TOKEN" }
    )]
    Denied {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The repository holds no checkpoint that could be loaded.
    #[error("{repository} is no checkpoint that can be loaded: it holds no {missing}")]
    NotACheckpoint {
        /// The repository.
        repository: String,
        /// The missing file.
        missing: &'static str,
    },
    /// No answer comes.
    #[error(
        "{endpoint} cannot be reached ({problem}): check the connection and HF_ENDPOINT, or copy the repository's \
         folder into {} from a machine that can",
        cache.display()
    )]
    Unreachable {
        /// Address of the hub.
        endpoint: String,
        /// The last attempt's failure.
        problem: String,
        /// Folder of fetched repositories.
        cache: PathBuf,
    },
    /// The certificate of the hub, or of a host that it redirects to, is not signed by a root that is trusted.
    #[error(
        "the certificate of {host} cannot be trusted ({problem}): name the file with the certificates of those who \
         sign it in SSL_CERT_FILE, REQUESTS_CA_BUNDLE or hub.certificates"
    )]
    Untrusted {
        /// The host.
        host: String,
        /// The library's answer.
        problem: String,
    },
    /// The file of trusted certificates cannot be used.
    #[error(
        "{} cannot be used for certificates that are trusted ({problem}): SSL_CERT_FILE, CURL_CA_BUNDLE, \
         REQUESTS_CA_BUNDLE and hub.certificates name a file in PEM form",
        path.display()
    )]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A proxy is no address.
    #[error(
        "the proxy for {scheme} cannot be used: give it as http://HOST:PORT in {}_PROXY or ALL_PROXY",
        scheme.to_uppercase()
    )]
    NoProxy {
        /// Scheme of the addresses, http or https.
        scheme: String,
    },
    /// The token is none.
    #[error("the token for the hub has characters that no token has: check HF_TOKEN, or the file with the token")]
    NoToken,
    /// The hub wants fewer requests.
    #[error("{endpoint} answers too many requests and asks to wait {seconds} seconds: start again then")]
    Busy {
        /// Address of the hub.
        endpoint: String,
        /// Seconds that it asks for.
        seconds: u64,
    },
    /// The hub's answer makes no sense.
    #[error("{url} gives an answer that is not a hub's: {problem}; check HF_ENDPOINT")]
    NoHub {
        /// The address asked for.
        url: String,
        /// The problem.
        problem: String,
    },
    /// Only files may be used that are there, and some are not.
    #[error(
        "{id} is not in {} as a whole, and the hub is not asked (HF_HUB_OFFLINE, hub.offline): run `server pull {id}` \
         while online",
        cache.display()
    )]
    Offline {
        /// The id.
        id: String,
        /// Folder of fetched repositories.
        cache: PathBuf,
    },
    /// The disk has too little room.
    #[error(
        "the files of {repository} need {} MiB more, and {} has {} MiB free: make room, or set HF_HOME to a folder \
         on a larger disk; what is fetched already is kept",
        needed.div_ceil(1 << 20),
        folder.display(),
        free >> 20
    )]
    DiskFull {
        /// The repository.
        repository: String,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that the disk has.
        free: u64,
        /// Folder of fetched repositories.
        folder: PathBuf,
    },
    /// A file is not the one that the hub announced.
    #[error("{file} of {repository} has the checksum {found} instead of {expected}, and was removed: fetch it again")]
    Checksum {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// The announced checksum.
        expected: String,
        /// The checksum of what came.
        found: String,
    },
    /// Another file of the checkpoint could not be had, whose error is told instead.
    #[error("another file could not be fetched")]
    Abandoned,
    /// A file or folder of the cache cannot be used.
    #[error("cannot {action} {}: check its owner and permissions, or set HF_HOME to another folder", path.display())]
    File {
        /// The failed action, as the end of "cannot ...".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl HubError {
    /// Whether files that were fetched earlier may be used instead: the hub did not say anything against it.
    pub(super) const fn is_of_the_line(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. } | Self::Untrusted { .. })
    }
}
