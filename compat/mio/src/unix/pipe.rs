//! The two ends of a pipe.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::io::Io;
use crate::net::{reader, socket, writer};

/// Makes a pipe whose ends are non-blocking.
///
/// # Errors
/// Those of the system.
pub fn new() -> io::Result<(Sender, Receiver)> {
    let (reader, writer) = minimio::pipe()?;
    let reader = reader.as_fd().try_clone_to_owned()?;
    let writer = writer.as_fd().try_clone_to_owned()?;
    Ok((Sender::from(writer), Receiver::from(reader)))
}

/// The end of a pipe that is written to.
pub struct Sender(Io<File>);

/// The end of a pipe that is read.
pub struct Receiver(Io<File>);

macro_rules! end {
    ($end:ident) => {
        impl $end {
            fn from_std(file: File) -> $end {
                $end(Io::from_std(file))
            }

            /// Makes the calls of this end block, or not.
            ///
            /// # Errors
            /// Those of the system.
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                socket2::SockRef::from(self.0.get()).set_nonblocking(nonblocking)
            }

            /// Makes a call of your own on this end, and returns what it returns.
            ///
            /// # Errors
            /// Those of `call`.
            pub fn try_io<F, T>(&self, call: F) -> io::Result<T>
            where
                F: FnOnce() -> io::Result<T>,
            {
                self.0.try_io(call)
            }
        }

        socket!($end of File);

        impl From<$end> for File {
            fn from(end: $end) -> File {
                end.0.into_std()
            }
        }
    };
}

end!(Sender);
writer!(Sender);
end!(Receiver);
reader!(Receiver);

/// It blocks until [`set_nonblocking`](Sender::set_nonblocking) is called.
impl From<ChildStdin> for Sender {
    fn from(stdin: ChildStdin) -> Sender {
        Sender::from(OwnedFd::from(stdin))
    }
}

/// It blocks until [`set_nonblocking`](Receiver::set_nonblocking) is called.
impl From<ChildStdout> for Receiver {
    fn from(stdout: ChildStdout) -> Receiver {
        Receiver::from(OwnedFd::from(stdout))
    }
}

/// It blocks until [`set_nonblocking`](Receiver::set_nonblocking) is called.
impl From<ChildStderr> for Receiver {
    fn from(stderr: ChildStderr) -> Receiver {
        Receiver::from(OwnedFd::from(stderr))
    }
}
