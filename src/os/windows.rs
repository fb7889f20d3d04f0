//! What Windows alone has: a handle to wait for.

mod waitable;

pub use waitable::Waitable;
