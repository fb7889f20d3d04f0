//! A server on a Unix socket that passes descriptors: a client sends a message with one end of a pipe, and the server
//! writes the message into it. Alone.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    programs::run(unix::alone())
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    println!("this system passes no descriptors");
    ExitCode::SUCCESS
}

#[cfg(unix)]
mod unix {
    use std::io::{IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, OwnedFd};
    use std::{env, fs, io, process};

    use programs::{noise, Result};
    use rustix::net::{
        recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
    use tokio::net::unix::pipe;
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinSet;

    const MESSAGE: usize = 1_000;
    const MESSAGES: u64 = 50;

    pub async fn alone() -> Result<()> {
        let path = env::temp_dir().join(format!("descriptors-{}", process::id()));
        let listener = UnixListener::bind(&path)?;
        let mut tasks = JoinSet::new();
        for seed in 0..20 {
            let stream = UnixStream::connect(&path).await?;
            let served = listener.accept().await?.0;
            tasks.spawn(serve(served));
            tasks.spawn(ask(stream, seed));
        }
        fs::remove_file(&path)?;
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        println!("all pipes were passed");
        Ok(())
    }

    /// Sends a writing end with each message, and reads the message from the other end. Every other message waits for
    /// nothing, so that several are under way at once.
    async fn ask(stream: UnixStream, seed: u64) -> Result<()> {
        let mut readers = JoinSet::new();
        for number in 0..MESSAGES {
            let message = noise(seed * MESSAGES + number, MESSAGE);
            let (writer, mut reader) = pipe::pipe()?;
            send(&stream, &message, writer.into_blocking_fd()?).await?;
            readers.spawn(async move {
                let mut back = Vec::new();
                reader.read_to_end(&mut back).await?;
                assert!(back == message, "{} other bytes came back", back.len());
                io::Result::Ok(())
            });
            if number.is_multiple_of(2) {
                while let Some(read) = readers.join_next().await {
                    read??;
                }
            }
        }
        drop(stream);
        while let Some(read) = readers.join_next().await {
            read??;
        }
        Ok(())
    }

    async fn send(stream: &UnixStream, message: &[u8], descriptor: OwnedFd) -> Result<()> {
        let sent = stream.async_io(Interest::WRITABLE, || {
            let descriptors = [descriptor.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            let slices = [IoSlice::new(message)];
            Ok(sendmsg(
                stream,
                &slices,
                &mut ancillary,
                SendFlags::empty(),
            )?)
        });
        // A socket takes a message of this size whole, or not at all.
        assert_eq!(sent.await?, message.len());
        Ok(())
    }

    async fn serve(stream: UnixStream) -> Result<()> {
        for _ in 0..MESSAGES {
            let mut message = [0; MESSAGE];
            // A read ends where the descriptors of another message begin, so one message comes at a time.
            let received = stream.async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let mut slices = [IoSliceMut::new(&mut message)];
                let received = recvmsg(
                    &stream,
                    &mut slices,
                    &mut ancillary,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                let mut descriptors = ancillary.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                    _ => None,
                });
                Ok((
                    received.bytes,
                    descriptors.next().and_then(|mut those| those.next()),
                ))
            });
            let (length, descriptor) = received.await?;
            let descriptor = descriptor.ok_or("there is no descriptor")?;
            let mut pipe = pipe::Sender::from_owned_fd(descriptor)?;
            pipe.write_all(&message[..length]).await?;
        }
        Ok(())
    }
}
