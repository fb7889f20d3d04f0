//! What only one family of systems has. The documentation of both families is the same on every system.

#[cfg(any(unix, all(doc, not(doctest))))]
pub mod unix;
#[cfg(any(windows, all(doc, not(doctest))))]
pub mod windows;

#[cfg(all(doc, not(doctest)))]
mod elsewhere;
