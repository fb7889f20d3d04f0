//! Ten thousand runtimes one after the other leave nothing behind.

mod common;

use common::{current_thread, rounds, Counting, Held};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn runtimes_in_a_row_leave_nothing_behind() {
    let rounds = rounds(10_000);
    // Some things are made once.
    (0..10).for_each(|_| one());
    let before = Held::settled();
    (0..rounds).for_each(|_| one());
    Held::settled().assert_as_before(before, rounds);
}

fn one() {
    let runtime = current_thread();
    let stream = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"word").await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"word");
        echo.await.unwrap();
        stream
    });
    drop(runtime);
    drop(stream);
}
