//! Notifies the service manager of readiness and of the end, as `sd_notify` does: a datagram to the socket that it
//! named.
//!
//! Called by `serve`; `main` reads the socket's name from the environment. If the service manager does not listen, only
//! the log tells it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sender of notifications to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// Connects to the socket that `NOTIFY_SOCKET` names: a path, or an abstract name after `@`.
    ///
    /// # Errors
    /// When the name is not that of a socket, or the system gives no socket to send from.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "neither a path from the root nor a name after @",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not block the server.
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// Tells that requests are accepted; `status` says where.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Tells that the end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    fn send(&self, state: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state = state.trim_end(), "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let count = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_at_a_path_is_told_of_readiness_and_of_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.ready("listens on http://127.0.0.1:80");
        notifier.stopping();
        assert_eq!(
            [received(&listener), received(&listener)],
            ["READY=1\nSTATUS=listens on http://127.0.0.1:80\n", "STOPPING=1\n"]
        );
    }

    #[test]
    fn a_manager_at_an_abstract_name_is_told_as_well() {
        let name = format!("encdec-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::to(format!("@{name}").as_ref()).unwrap().ready("here");
        assert_eq!(received(&listener), "READY=1\nSTATUS=here\n");
    }

    #[test]
    fn a_name_that_is_no_socket_is_refused_and_a_manager_that_is_gone_or_does_not_read_changes_nothing() {
        for name in ["", "notify", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            assert!(Notifier::to(name.as_ref()).is_err(), "{name}");
        }
        Notifier::default().ready("here");
        Notifier::to("/nowhere/at/all".as_ref()).unwrap().ready("here");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        // More than any queue holds.
        (0..2000).for_each(|_| notifier.ready("here"));
    }
}
