//! Many live connections on one `Poll`, that come and go, talk, read slowly, stay silent, never read, and reset.
//!
//! The peers are child processes: this program run again. `MINIMIO_EFFORT` scales the number of connections, up to what
//! the limit of descriptors allows less 200, and the time. (Beyond some thousands elsewhere than on Linux, ports run
//! short: there all connections come from one address.)

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
mod load;

use std::net::{self, SocketAddr};

use common::{effort, most_connections, resident_kib, watchdog};
use load::CHILDREN;
use minimio::Poll;
#[cfg(target_os = "linux")]
use socket2::{Domain, Socket, Type};

/// Other systems have one address on their loopback.
#[cfg(not(target_os = "linux"))]
fn connect(to: SocketAddr, _child: usize) -> net::TcpStream {
    net::TcpStream::connect(to).unwrap()
}

/// Each child has an address of its own, so that ports do not run out.
#[cfg(target_os = "linux")]
fn connect(to: SocketAddr, child: usize) -> net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("127.0.0.{}:0", child + 2).parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn many_connections_with_churn_keep_memory_steady() {
    if load::are_peers(connect) {
        return;
    }
    let _watchdog = watchdog();
    let count = effort(500).min(most_connections()) / CHILDREN;
    let mut poll = Poll::new().unwrap();
    let mut steady = None;
    let name = "many_connections_with_churn_keep_memory_steady";
    let seen = load::serve(&mut poll, name, count, effort(2), |seen, _| {
        // Every connection has been replaced a few times, or the most that were ever there have been.
        if steady.is_none() && seen.accepted > 3 * CHILDREN * count / 2 {
            steady = Some(resident_kib());
        }
    });
    let grown = steady.map(|steady| resident_kib().saturating_sub(steady));
    println!("{seen:?}, grown by {grown:?} KiB");
    assert!(grown.unwrap_or(0) < 4_096, "{grown:?} KiB");
}
