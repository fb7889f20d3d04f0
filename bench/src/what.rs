//! One module for each benchmark.

pub mod accept;
pub mod build;
pub mod bulk;
pub mod echo;
pub mod growth;
pub mod idle;
pub mod memory;
pub mod rearm;
pub mod tokio;
#[cfg(unix)]
pub mod uds;
pub mod wake;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::options::Options;
use crate::peers::Peer;

/// The values of `all` that the options do not leave out.
fn wanted<T: Copy>(options: &Options, all: &[(&'static str, T)]) -> Vec<(&'static str, T)> {
    let mut wanted = all.to_vec();
    wanted.retain(|(name, _)| options.wants(name));
    wanted
}

/// Registers streams, each under its index.
fn adopt_all<P: Peer>(queue: &P, streams: Vec<TcpStream>) -> io::Result<Vec<P::Stream>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    let adopt = |(key, stream)| {
        let mut stream = P::wrap(stream)?;
        queue.adopt(&mut stream, key)?;
        Ok(stream)
    };
    streams.into_iter().enumerate().map(adopt).collect()
}

/// Takes the streams out of their queue. (On Windows it closes them, since they cannot go to another queue.)
fn give_back<P: Peer>(queue: &P, streams: Vec<P::Stream>) -> io::Result<Vec<TcpStream>>
where
    for<'a> &'a P::Stream: Read + Write,
{
    #[cfg(not(windows))]
    return streams
        .into_iter()
        .map(|stream| queue.release(stream))
        .collect();
    #[cfg(windows)]
    {
        for stream in streams {
            queue.close(stream)?;
        }
        Ok(Vec::new())
    }
}

/// The result of a thread. A panic of a peer becomes an error.
pub fn joined<T>(result: std::thread::Result<io::Result<T>>) -> io::Result<T> {
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("without words");
        Err(io::Error::other(format!("it panicked: {text}")))
    })
}

/// Calls a generic function once for each queue, and returns its results with the names.
macro_rules! each_peer {
    ($function:ident) => {
        &[
            (
                <crate::peers::bare::Bare<false> as crate::peers::Peer>::NAME,
                $function::<crate::peers::bare::Bare<false>> as _,
            ),
            (
                "minimio",
                $function::<crate::peers::minimio::Minimio<false>> as _,
            ),
            #[cfg(windows)]
            (
                "minimio-drained",
                $function::<crate::peers::minimio::Minimio<true>> as _,
            ),
            (
                "mio-drained",
                $function::<crate::peers::mio::Mio<false>> as _,
            ),
            (
                "mio-short-read",
                $function::<crate::peers::mio::Mio<true>> as _,
            ),
            (
                "polling-oneshot",
                $function::<crate::peers::polling::Polling<false>> as _,
            ),
            (
                "polling-level",
                $function::<crate::peers::polling::Polling<true>> as _,
            ),
            (
                "bare-again",
                $function::<crate::peers::bare::Bare<true>> as _,
            ),
        ]
    };
}
pub(crate) use each_peer;
