//! What only one family of systems has.

#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;
