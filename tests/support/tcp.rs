//! A server's socket under another name: a free TCP port on loopback whose connections are passed on to it.

use super::Postgres;
use std::io::copy;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::thread::spawn;

/// The port. It answers until the test process ends.
pub fn tcp_port_of(server: &Postgres) -> u16 {
    let socket = server.socket_dir().join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else { continue };
            let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { continue };
            spawn(move || {
                let _ = copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let (mut from_server, mut to_client) = (server, client);
            spawn(move || {
                let _ = copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
        }
    });
    port
}
