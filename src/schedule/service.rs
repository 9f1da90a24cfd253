//! The service manager: systemd's sd_notify(3) protocol, one datagram a message to the socket that `NOTIFY_SOCKET` names.
//! Where there is none nothing is said.

use std::time::Duration;

/// The service manager that started this process, if one did.
#[derive(Debug, Default)]
pub struct Service {
    #[cfg(target_os = "linux")]
    address: Option<std::os::unix::net::SocketAddr>,
    watchdog: Option<Duration>,
    status: String,
}

impl Service {
    /// The service manager of this process' environment; `warn` is told of one that cannot be reached.
    pub fn from_environment(warn: impl FnOnce(&str)) -> Self {
        Self::from(|name| std::env::var_os(name), warn)
    }

    #[cfg(not(target_os = "linux"))]
    fn from(_variable: impl Fn(&str) -> Option<std::ffi::OsString>, _warn: impl FnOnce(&str)) -> Self {
        Self::default()
    }

    #[cfg(target_os = "linux")]
    fn from(variable: impl Fn(&str) -> Option<std::ffi::OsString>, warn: impl FnOnce(&str)) -> Self {
        let Some(socket) = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
            return Self::default();
        };
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        // WATCHDOG_PID says whose the watchdog is, where it is not everybody's: sd_watchdog_enabled(3).
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        match address(&socket) {
            Ok(address) => Self { address: Some(address), watchdog, status: String::new() },
            Err(error) => {
                warn(&format!("NOTIFY_SOCKET {} cannot be used: {error}", socket.display()));
                Self::default()
            }
        }
    }

    /// How often [`Service::alive`] must be called: twice in the time after which the manager gives this process up.
    pub fn period(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The configuration was read and the loop has begun, for the first time or again.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The configuration is being read again. The time is what `Type=notify-reload` asks for.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\n{}", monotonic()));
    }

    /// The scheduler ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The loop still turns.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// What `systemctl status` shows; told only when it changes.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            self.send(&format!("STATUS={}", status.replace('\n', " ")));
            self.status = status;
        }
    }

    #[cfg(target_os = "linux")]
    fn send(&self, message: &str) {
        let Some(address) = &self.address else { return };
        // A manager that does not listen is no reason to take no backups.
        let sent = std::os::unix::net::UnixDatagram::unbound()
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .and_then(|socket| socket.send_to_addr(message.as_bytes(), address));
        drop(sent);
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&self, _message: &str) {}
}

/// The address of `NOTIFY_SOCKET`: a path, or a name after an `@` that no file has.
#[cfg(target_os = "linux")]
fn address(socket: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::SocketAddr;
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> String {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or_else(
        |_| String::new(),
        |now| format!("MONOTONIC_USEC={}", now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000),
    )
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> String {
    String::new()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::net::UnixDatagram;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn service(socket: &str, usec: &str, pid: &str) -> Service {
        let variables = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)];
        let find = |name: &str| variables.iter().find(|(other, value)| *other == name && !value.is_empty());
        Service::from(|name| find(name).map(|(_, value)| OsString::from(value)), |warning| panic!("{warning}"))
    }

    #[test]
    fn a_socket_with_a_path_or_without_hears_everything() {
        use std::os::linux::net::SocketAddrExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify").display().to_string();
        let name = format!("pgkeep-test-{}", std::process::id());
        let abstract_address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let sockets = [
            (path.clone(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}"), UnixDatagram::bind_addr(&abstract_address).unwrap()),
        ];
        for (name, socket) in sockets {
            let mut service = service(&name, "4000000", "");
            assert_eq!(service.period(), Some(Duration::from_secs(2)));
            service.ready();
            assert_eq!(received(&socket), "READY=1");
            service.reloading();
            let told = received(&socket);
            let usec = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(usec.parse::<u64>().unwrap() > 0, "{told}");
            service.status("one\ntwo".to_owned());
            service.status("one\ntwo".to_owned());
            service.alive();
            service.stopping();
            assert_eq!([received(&socket), received(&socket)], ["STATUS=one two", "WATCHDOG=1"]);
            assert_eq!(received(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn the_watchdog_of_another_process_is_left_alone_and_nobody_there_is_no_harm() {
        assert_eq!(service("/nowhere/notify", "4000000", "1").period(), None);
        let own = std::process::id().to_string();
        let service = service("/nowhere/notify", "4000000", &own);
        assert!(service.period().is_some());
        service.ready();
        assert_eq!(Service::from(|_| None, |_| {}).period(), None);
    }
}
