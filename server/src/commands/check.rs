//! `server check`: asks a running server whether it accepts requests.
//!
//! Called by `main`. Container engines run it inside images, which have no other client of HTTP.

use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;

use super::error::{CommandError, io};
use crate::cli::CheckOptions;
use crate::config::Config;

/// Longest time for the whole answer; a probe of a server that works takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Path that is asked where none is given.
const READY: &str = "/ready";
/// Bytes of an answer that are read: a line, or an error.
const ANSWER_BYTES: u64 = 4096;

/// Why a server counts as not ready.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody answers.
    #[error("no answer from {url}")]
    NoAnswer {
        /// Address that was asked.
        url: String,
        /// The client's message.
        source: ureq::Error,
    },
    /// The answer is not one of success.
    #[error("{url} answers {status}: {said}")]
    Refused {
        /// Address that was asked.
        url: String,
        /// Status of the answer.
        status: u16,
        /// The answer, on one line.
        said: String,
    },
    /// The settings give no address that can be asked.
    #[error("the settings do not tell where to ask ({reason}): give the URL, http://HOST:PORT or https://HOST:PORT")]
    NoAddress {
        /// The cause.
        reason: &'static str,
    },
}

/// Asks once, and prints what the server says.
///
/// # Errors
/// When the server does not answer with success.
pub fn check(config: &Config, options: &CheckOptions) -> Result<(), CommandError> {
    let url = options.url.as_ref().map_or_else(|| own_url(config), |url| Ok(with_path(url)))?;
    let said = ask(&url, PATIENCE)?;
    writeln!(stdout(), "{}", said.trim_end()).map_err(io("print the answer"))
}

fn ask(url: &str, patience: Duration) -> Result<String, CheckError> {
    // A probe of this machine takes no proxy, whatever the environment says.
    let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).proxy(None).build();
    let no_answer = |source| CheckError::NoAnswer { url: url.to_owned(), source };
    let mut answer = agent.new_agent().get(url).call().map_err(no_answer)?;
    let said = answer.body_mut().with_config().limit(ANSWER_BYTES).lossy_utf8(true).read_to_string();
    let said = said.map_err(no_answer)?;
    if answer.status().is_success() {
        return Ok(said);
    }
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(CheckError::Refused { url: url.to_owned(), status: answer.status().as_u16(), said })
}

fn with_path(url: &Uri) -> String {
    let url = url.to_string();
    match url.split_once("://") {
        Some((_, rest)) if !rest.trim_end_matches('/').contains('/') => url.trim_end_matches('/').to_owned() + READY,
        _ => url,
    }
}

/// Address of a server with these settings on this machine.
fn own_url(config: &Config) -> Result<String, CheckError> {
    let server = &config.server;
    let probes = server.probe_address.rsplit_once(':').filter(|_| !server.probe_address.is_empty());
    let (host, port) = match probes {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.to_owned()),
        None if config.access.credentials.certificate.is_some() => {
            return Err(CheckError::NoAddress { reason: "the server speaks TLS, and server.probe_address is empty" });
        }
        None => (server.host.as_str(), server.port.to_string()),
    };
    if port == "0" {
        return Err(CheckError::NoAddress { reason: "port 0 is any free port" });
    }
    Ok(format!("http://{}:{port}{READY}", reachable(host)))
}

/// The host as part of a URL; that of this machine for all of its addresses.
fn reachable(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::config::Layer;

    /// A server that gives one answer, or none while its connection is open.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = connection.read(&mut request);
            let _ = connection.write_all(answer.as_bytes());
            if answer.is_empty() {
                let _ = connection.read(&mut request);
            }
        });
        address
    }

    fn asked(answer: &'static str) -> Result<String, String> {
        let patience = if answer.is_empty() { Duration::from_millis(50) } else { PATIENCE };
        let url = format!("http://{}/ready", answering(answer));
        ask(&url, patience).map_err(|error| error.to_string().replace(&url, "URL"))
    }

    #[test]
    fn only_an_answer_of_success_is_one() {
        assert_eq!(asked("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n"), Ok("ready\n".to_owned()));
        let draining = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\n{\n \"draining\": 1}";
        assert_eq!(asked(draining), Err("URL answers 503: { \"draining\": 1}".to_owned()));
        assert_eq!(asked(""), Err("no answer from URL".to_owned()), "a server that hangs");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(&format!("http://{closed}/ready"), PATIENCE).is_err(), "a port that nobody listens on");
    }

    #[test]
    fn a_url_without_a_path_is_asked_whether_it_is_ready() {
        let path = |url: &str| with_path(&url.parse().unwrap());
        assert_eq!(path("http://h:1"), "http://h:1/ready");
        assert_eq!(path("https://h/"), "https://h/ready");
        assert_eq!(path("http://h:1/health"), "http://h:1/health");
    }

    #[test]
    fn the_settings_tell_where_their_server_is() {
        let url = |text: &str| {
            let config = Config::from_layers(vec![Layer::parse("test", text).unwrap()]).unwrap();
            own_url(&config).map_err(|error| error.to_string())
        };
        assert_eq!(url("").as_deref(), Ok("http://127.0.0.1:8080/ready"));
        assert_eq!(url("[server]\nhost = \"0.0.0.0\"\nport = 9").as_deref(), Ok("http://127.0.0.1:9/ready"));
        assert_eq!(url("[server]\nhost = \"::\"").as_deref(), Ok("http://[::1]:8080/ready"));
        assert_eq!(url("[server]\nhost = \"fd00::1\"").as_deref(), Ok("http://[fd00::1]:8080/ready"));
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n[server]\n";
        let probes = |address: &str| url(&format!("{tls}probe_address = \"{address}\""));
        assert_eq!(probes("[::]:9").as_deref(), Ok("http://[::1]:9/ready"));
        assert_eq!(probes("10.0.0.1:9").as_deref(), Ok("http://10.0.0.1:9/ready"));
        assert!(probes("").unwrap_err().contains("speaks TLS"));
        assert!(url("[server]\nport = 0").unwrap_err().contains("any free port"));
    }
}
