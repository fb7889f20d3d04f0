//! What Unix alone has: any descriptor as a source.

mod descriptor;

pub use descriptor::Descriptor;
