//! [`IntoStdError`]: the error of the `into_std` methods.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a source could not be turned back into a socket of `std` or a handle, together with that source. The `into_std`
/// methods return it, and on Windows the `into_handle` of a named pipe.
#[derive(Debug)]
pub struct IntoStdError<S> {
    pub(crate) source: S,
    pub(crate) error: io::Error,
}

impl<S> IntoStdError<S> {
    /// The reason. The documentation of the `into_std` method says which reasons there are.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The source, which is still usable. If the reason is that a connect failed, that failure counts as reported now.
    #[must_use]
    pub fn into_source(self) -> S {
        self.source
    }
}

impl<S> fmt::Display for IntoStdError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S: fmt::Debug> Error for IntoStdError<S> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<S> From<IntoStdError<S>> for io::Error {
    fn from(error: IntoStdError<S>) -> io::Error {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_shown_and_handed_on_as_it_is() {
        let failure = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = IntoStdError {
            source: 7,
            error: failure(),
        };
        assert_eq!(error.to_string(), failure().to_string());
        assert!(Error::source(&error).is_some());
        assert_eq!(error.error().kind(), failure().kind());
        assert_eq!(io::Error::from(error).kind(), failure().kind());
    }
}
