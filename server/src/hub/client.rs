//! Requests to the hub: redirects, the token, attempts and the pauses between them.
//!
//! Used by `repository` and `download`. The token goes to the hub's own address only: redirects lead to other hosts,
//! whose addresses carry signatures of their own.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::error::HubError;
use crate::config::{HubConfig, HubToken};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 8;
/// Pause after the first failed attempt, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Longest time that the hub may ask to wait; otherwise people decide.
const LONGEST_WAIT: u64 = 60;

/// A way to the hub.
pub struct Client {
    agent: Agent,
    config: HubConfig,
    token: Option<HubToken>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Address.
    pub url: &'a str,
    /// Repository that it is about, for error messages.
    pub repository: &'a str,
    /// Whether only the headers are asked for. Redirects to other hosts are not followed then: the hub's own answer has
    /// the headers that count.
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
    pub fn new(config: &HubConfig) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!("encdec/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(config.timeout))
            .timeout_recv_response(Some(config.timeout))
            .timeout_per_read(Some(config.timeout))
            .build()
            .new_agent();
        let in_file = || std::fs::read_to_string(config.token_file.as_ref()?).ok().map(|text| HubToken::new(&text));
        let token = config.token.clone().or_else(in_file).filter(|token| !token.secret().is_empty());
        Self { agent, config: config.clone(), token }
    }

    /// Address of the hub.
    pub fn endpoint(&self) -> &str {
        &self.config.endpoint
    }

    /// The answer to a request that is repeated as long as attempts are left.
    pub fn ask(&self, ask: Ask<'_>) -> Result<Answer, HubError> {
        let mut attempts = self.attempts();
        loop {
            match self.ask_once(ask) {
                Ok(answer) => return Ok(answer),
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
            let next = absolute(&url, location).ok_or_else(|| no_hub(&url, format!("a redirect to {location:?}")))?;
            if ask.head && !self.is_own(&next) {
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
        let answer = request.call().map_err(|error| match error {
            ureq::Error::BadUri(problem) => no_hub(url, problem),
            ureq::Error::Http(problem) => no_hub(url, problem.to_string()),
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
            let host = origin(url).map(|(_, host, _)| host).unwrap_or_default();
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
        match (origin(url), origin(&self.config.endpoint)) {
            (Some(asked), Some(own)) => asked == own,
            _ => false,
        }
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
        std::thread::sleep(wait.map_or(self.pause, Duration::from_secs));
        self.pause = (2 * self.pause).min(PAUSES[1]);
        Ok(())
    }
}

/// An answer that no hub gives.
pub fn no_hub(url: &str, problem: String) -> Failure {
    // A signature in an address is a secret for as long as it holds.
    let url = url.split('?').next().unwrap_or_default().to_owned();
    Failure::Lasting(HubError::NoHub { url, problem })
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The address that a redirect at `url` leads to.
fn absolute(url: &str, location: &str) -> Option<String> {
    if let Some(path) = location.strip_prefix('/') {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?;
        // Two slashes begin another host on the same scheme.
        return Some(match path.strip_prefix('/') {
            Some(other) => format!("{scheme}://{other}"),
            None => format!("{scheme}://{}/{path}", uri.authority()?),
        });
    }
    let is_http = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    (is_http(location) && origin(location).is_some()).then(|| location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_it_says() {
        let from = "https://hub.example:8443/a/b?c=d";
        for (location, to) in [
            ("/x?y=z", Some("https://hub.example:8443/x?y=z")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("http://cdn.example/x", Some("http://cdn.example/x")),
            ("file:///etc/passwd", None),
            ("x", None),
            ("https://", None),
        ] {
            assert_eq!(absolute(from, location).as_deref(), to, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Hub.example/a"), origin("https://hub.example:443"));
        for other in
            ["http://hub.example", "https://hub.example:8443", "https://hub.example.evil", "https://cdn.hub.example"]
        {
            assert_ne!(origin("https://hub.example"), origin(other), "{other}");
        }
    }
}
