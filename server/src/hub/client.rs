//! Requests to the hub: redirects, the token, attempts and the pauses between them.
//!
//! Used by `repository` and `download`. The token goes to the hub's own address only: redirects lead to other hosts,
//! whose addresses carry signatures of their own.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio_rustls::rustls;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::address::{Origin, redirected};
use super::error::HubError;
use super::proxy::proxy_for;
use super::roots::roots;
use super::stop::Stop;
use crate::config::{HubConfig, HubToken};

/// Header with the tag of a file that lies elsewhere.
pub const LINKED_TAG: &str = "x-linked-etag";
/// Header with the size of such a file in bytes.
pub const LINKED_SIZE: &str = "x-linked-size";
/// Redirects that are followed for one request.
const REDIRECTS: usize = 8;
/// Pause after the first failed attempt, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Longest time that the hub may ask to wait; otherwise people decide.
const LONGEST_WAIT: u64 = 60;

/// A way to the hub, for the threads of one fetch.
pub struct Client {
    agent: Agent,
    config: HubConfig,
    token: Option<HubToken>,
    stop: Stop,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Address.
    pub url: &'a str,
    /// Repository that it is about, for error messages.
    pub repository: &'a str,
    /// Whether only the headers are asked for. Redirects to other hosts, and those that tell the tag and size of the
    /// file, are not followed then: the hub's own answer has the headers that count.
    pub head: bool,
    /// First byte that is asked for.
    pub from: u64,
}

/// An answer with a status of success, or of a redirect that was not followed.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// Why an attempt brought nothing.
pub enum Failure {
    /// The next one may succeed, after the time that the hub asks for, if it does.
    Passing {
        /// The problem.
        problem: String,
        /// Seconds to wait.
        wait: Option<u64>,
    },
    /// The next one would fail as well.
    Lasting(HubError),
}

/// Attempts at one thing. Those that bring something do not count.
pub struct Attempts<'a> {
    client: &'a Client,
    left: u32,
    pause: Duration,
}

impl Client {
    /// A client under these settings; the token is read if it is in a file.
    ///
    /// # Errors
    /// When the token or the file of certificates cannot be used.
    pub fn new(config: &HubConfig) -> Result<Self, HubError> {
        let is_one = |token: &HubToken| !token.secret().is_empty();
        let token = config.token.clone().filter(is_one);
        let token = token.or_else(|| token_in(config.token_file.as_deref()?)).filter(is_one);
        if token.as_ref().is_some_and(|token| !token.secret().bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(HubError::NoToken);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!("encdec/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(config.timeout))
            .timeout_recv_response(Some(config.timeout))
            .timeout_per_read(Some(config.timeout))
            .tls_config(TlsConfig::builder().root_certs(roots(config.certificates.as_deref())?).build())
            // The library would read the environment by rules of its own; each request says its proxy.
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self { agent, config: config.clone(), token, stop: Stop::default() })
    }

    /// Ends the fetch.
    pub const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Address of the hub.
    pub fn endpoint(&self) -> &str {
        &self.config.endpoint
    }

    /// The result of an attempt that is repeated as long as attempts are left.
    pub fn repeat<T>(&self, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, HubError> {
        let mut attempts = self.attempts();
        loop {
            match attempt() {
                Ok(result) => return Ok(result),
                Err(failure) => attempts.wait_after(failure)?,
            }
        }
    }

    /// Attempts in the number that the settings allow.
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts { client: self, left: self.config.attempts, pause: PAUSES[0] }
    }

    /// One attempt.
    pub fn ask_once(&self, ask: Ask<'_>) -> Result<Answer, Failure> {
        let mut url = ask.url.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = self.send(&url, ask)?;
            let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| answer.status.is_redirection()) else {
                return self.checked(answer, &url, ask);
            };
            let next = redirected(&url, location).ok_or_else(|| {
                no_hub(&url, format!("a redirect to {:?}, which is not followed", without_query(location)))
            })?;
            if ask.head && (!self.is_own(&next) || tells_linked_file(&answer.headers)) {
                return Ok(answer);
            }
            url = next;
        }
        Err(no_hub(&url, format!("more than {REDIRECTS} redirects")))
    }

    fn send(&self, url: &str, ask: Ask<'_>) -> Result<Answer, Failure> {
        let mut request = if ask.head { self.agent.head(url) } else { self.agent.get(url) };
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        let origin = Origin::of(url).ok_or_else(|| no_hub(url, "no address with a host".to_owned()))?;
        let proxy = proxy_for(&self.config.proxies, &origin).map_err(Failure::Lasting)?;
        let answer = request.config().proxy(proxy).build().call().map_err(|error| match error {
            ureq::Error::BadUri(_) => no_hub(url, "its address cannot be asked".to_owned()),
            ureq::Error::Http(problem) => no_hub(url, problem.to_string()),
            error if is_untrusted(&error) => {
                Failure::Lasting(HubError::Untrusted { host: origin.host, problem: error.to_string() })
            }
            error => Failure::Passing { problem: error.to_string(), wait: None },
        })?;
        let (head, body) = answer.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The answer that came from `url`, unless its status says that there is nothing.
    fn checked(&self, answer: Answer, url: &str, ask: Ask<'_>) -> Result<Answer, Failure> {
        let status = answer.status;
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE && ask.from > 0 {
            return Ok(answer);
        }
        if !self.is_own(url) {
            // The signature in its address may have ended; the hub gives another.
            let host = Origin::of(url).map(|origin| origin.host).unwrap_or_default();
            return Err(Failure::Passing {
                problem: format!("{host}, to which it redirects, answers {status}"),
                wait: None,
            });
        }
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (endpoint, repository) = (self.config.endpoint.clone(), ask.repository.to_owned());
        let has_token = self.token.is_some();
        let code = text("x-error-code");
        Err(match status.as_u16() {
            _ if code == "GatedRepo" => Failure::Lasting(HubError::Gated { endpoint, repository, has_token }),
            // A hub does not tell strangers whether a private repository exists.
            _ if code == "RepoNotFound" => Failure::Lasting(HubError::NoRepository { endpoint, repository }),
            status @ (401 | 403) => Failure::Lasting(HubError::Denied { endpoint, repository, status, has_token }),
            404 if code == "RevisionNotFound" => {
                let revision = ask.url.rsplit('/').next().unwrap_or_default().replace("%2F", "/");
                Failure::Lasting(HubError::NoRevision { endpoint, repository, revision })
            }
            404 if code == "EntryNotFound" => {
                let file = ask.url.rsplit('/').next().unwrap_or_default().to_owned();
                Failure::Lasting(HubError::NoFile { endpoint, repository, file })
            }
            404 => Failure::Lasting(HubError::NoRepository { endpoint, repository }),
            status @ (408 | 429 | 500..=599) => {
                let wait = text("retry-after").trim().parse().ok();
                Failure::Passing { problem: format!("it answers {status}"), wait }
            }
            _ => no_hub(ask.url, format!("the status {status}")),
        })
    }

    /// Whether an address is the hub's own: its scheme, host and port.
    fn is_own(&self, url: &str) -> bool {
        Origin::of(url).is_some_and(|asked| Some(asked) == Origin::of(&self.config.endpoint))
    }
}

impl Attempts<'_> {
    /// Begins anew, after an attempt that brought something.
    pub fn renew(&mut self) {
        *self = self.client.attempts();
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// When there is none left, or it would be no use.
    pub fn wait_after(&mut self, failure: Failure) -> Result<(), HubError> {
        let (problem, wait) = match failure {
            Failure::Lasting(error) => return Err(error),
            Failure::Passing { problem, wait } => (problem, wait),
        };
        let HubConfig { endpoint, cache, .. } = &self.client.config;
        let endpoint = endpoint.clone();
        if let Some(seconds) = wait.filter(|seconds| *seconds > LONGEST_WAIT) {
            return Err(HubError::Busy { endpoint, seconds });
        }
        self.left -= 1;
        if self.left == 0 {
            return Err(HubError::Unreachable { endpoint, problem, cache: cache.clone().unwrap_or_default() });
        }
        tracing::info!(problem, left = self.left, "the hub is asked again");
        self.client.stop.sleep(wait.map_or(self.pause, Duration::from_secs));
        self.pause = (2 * self.pause).min(PAUSES[1]);
        if self.client.stop.is_set() { Err(HubError::Abandoned) } else { Ok(()) }
    }
}

/// Whether a redirect tells the tag and size of the file that it leads to.
fn tells_linked_file(headers: &HeaderMap) -> bool {
    [LINKED_TAG, LINKED_SIZE].iter().all(|name| headers.contains_key(*name))
}

/// An answer that no hub gives.
pub fn no_hub(url: &str, problem: String) -> Failure {
    Failure::Lasting(HubError::NoHub { url: without_query(url).to_owned(), problem })
}

/// An address without what may be a signature: a secret for as long as it holds.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// Whether the other end could not prove who it is.
fn is_untrusted(error: &ureq::Error) -> bool {
    let of_tls = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    matches!(of_tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// The token in a file; none if there is no such file.
fn token_in(file: &Path) -> Option<HubToken> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(HubToken::new(&text)),
        Err(error) => {
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                tracing::warn!(%error, file = %file.display(), "the hub is asked without the token in this file");
            }
            None
        }
    }
}
