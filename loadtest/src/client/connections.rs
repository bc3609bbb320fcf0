//! Connections to the server: opened as they are needed, kept while they can carry another request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::Address;
use super::fault::{Fault, FaultClass};
use super::tls;
use crate::error::{LoadtestError, with_causes};

/// A connection that can carry one request at a time.
pub type Connection = SendRequest<Full<Bytes>>;

/// Credentials of the client, and whom it trusts.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Key of the API, sent as a bearer token.
    pub api_key: Option<String>,
    /// Further headers, each as `Name: value`.
    pub headers: Vec<String>,
    /// File of further trusted root certificates.
    pub roots: Option<PathBuf>,
}

/// A client of one server.
pub struct Client {
    address: Address,
    places: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client of the server at `address`, whose name is looked up once. Opens no connection.
    ///
    /// # Errors
    /// A name that is unknown, a header that is none, a file of roots that cannot be read.
    pub async fn new(address: Address, access: &Access) -> Result<Self, LoadtestError> {
        let url = || format!("{}{}", address.authority(), address.prefix);
        let found = lookup_host((address.host_name(), address.port)).await;
        let found = found.map_err(|error| LoadtestError::Unreachable { url: url(), fault: error.to_string() })?;
        let places: Vec<SocketAddr> = found.collect();
        let tls = if address.is_https {
            let name = ServerName::try_from(address.host_name().to_owned());
            let name = name.map_err(|error| LoadtestError::Address { url: url(), fault: error.to_string() })?;
            Some((tls::connector(access.roots.as_deref())?, name))
        } else {
            None
        };
        let headers = headers(&address, access)?;
        Ok(Self { address, places, tls, headers, idle: Mutex::default() })
    }

    /// Asks for `path` below the server's address: a GET without a body, a POST of JSON with one. The connection is
    /// given with the head of the answer; [`Client::keep`] takes it back when the body was read to its end.
    ///
    /// # Errors
    /// No connection, or one that ended before the answer's head.
    pub async fn ask(&self, path: &str, body: Option<Bytes>) -> Result<(Connection, Response<Incoming>), Fault> {
        let mut request = Request::new(Full::new(body.clone().unwrap_or_default()));
        *request.method_mut() = if body.is_some() { Method::POST } else { Method::GET };
        let path = format!("{}{path}", self.address.prefix);
        *request.uri_mut() = path.parse().map_err(|error| Fault::new(FaultClass::Connect, error))?;
        *request.headers_mut() = self.headers.clone();
        if body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        loop {
            let (mut connection, is_kept) = match self.take_idle().await {
                Some(connection) => (connection, true),
                None => (self.open().await?, false),
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    // The server had closed a kept connection before it was sent a byte of this request.
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(Fault::new(FaultClass::Closed, with_causes(error.error()))),
                },
            }
        }
    }

    /// Keeps a connection for a further request.
    pub fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn open(&self) -> Result<Connection, Fault> {
        let cannot = |error: &dyn std::error::Error| Fault::new(FaultClass::Connect, with_causes(error));
        let stream = TcpStream::connect(&self.places[..]).await.map_err(|error| cannot(&error))?;
        stream.set_nodelay(true).map_err(|error| cannot(&error))?;
        let Some((connector, name)) = &self.tls else {
            let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| cannot(&error))?;
            // Its errors reach the request that it carries.
            tokio::spawn(driver);
            return Ok(connection);
        };
        let stream = connector.connect(name.clone(), stream).await.map_err(|error| cannot(&error))?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| cannot(&error))?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

fn headers(address: &Address, access: &Access) -> Result<HeaderMap, LoadtestError> {
    let mut headers = HeaderMap::new();
    let fault = |flag, fault: &str| LoadtestError::Flag { flag, fault: fault.to_owned() };
    let host = HeaderValue::try_from(address.authority());
    headers.insert(HOST, host.map_err(|_| fault("url", "its host is no name of a host"))?);
    if let Some(key) = &access.api_key {
        let value = HeaderValue::try_from(format!("Bearer {key}"));
        let mut value = value.map_err(|_| fault("api-key", "a key has visible characters only"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    for header in &access.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| fault("header", "write it as 'Name: value'"))?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| fault("header", "its name is no header's"))?;
        let value = HeaderValue::try_from(value.trim()).map_err(|_| fault("header", "its value is no header's"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}
