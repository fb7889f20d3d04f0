//! A WebSocket echo by tokio-tungstenite.
//!
//! ```text
//! websocket serve                     echoes until Ctrl-C
//! websocket load ADDRESS CLIENTS      clients that each send while they receive, and compare
//! websocket alone                     both in one process
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use programs::{arguments, listen, noise, run, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// Around the limits at which the length of a frame is written in another way, and larger than any buffer.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, 5, 2_000_000];

fn main() -> ExitCode {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(async {
        match words[..] {
            ["serve"] => {
                let listener = listen().await?;
                tokio::select! {
                    ended = serve(listener) => ended,
                    interrupt = tokio::signal::ctrl_c() => {
                        interrupt?;
                        println!("stopped");
                        Ok(())
                    }
                }
            }
            ["load", address, clients] => load(address.parse()?, clients.parse()?).await,
            ["alone"] => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                tokio::select! {
                    ended = serve(listener) => ended,
                    done = load(address, 20) => done,
                }
            }
            _ => Err("usage: see the head of websocket.rs".into()),
        }
    })
}

async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let stream = listener.accept().await?.0;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

/// Sends every message back. The library answers pings and the closing handshake by itself.
async fn echo(stream: TcpStream) -> Result<()> {
    let (sink, messages) = accept_async(stream).await?.split();
    messages
        .try_filter(|message| std::future::ready(message.is_text() || message.is_binary()))
        .forward(sink)
        .await?;
    Ok(())
}

async fn load(address: SocketAddr, clients: u64) -> Result<()> {
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn(talk(address, client));
    }
    let mut messages = 0;
    while let Some(done) = tasks.join_next().await {
        messages += done??;
    }
    println!("{messages} messages came back");
    Ok(())
}

/// The messages that a client sends, in their order.
fn messages(client: u64) -> impl Iterator<Item = Message> {
    (0..40).map(move |number| {
        let bytes = noise(
            client * 1_000 + number,
            SIZES[number as usize % SIZES.len()],
        );
        match number % 3 {
            0 => Message::text(
                bytes
                    .iter()
                    .map(|byte| char::from(byte % 26 + b'a'))
                    .collect::<String>(),
            ),
            1 => Message::binary(bytes),
            _ => Message::Ping(bytes[..bytes.len().min(125)].to_vec().into()),
        }
    })
}

/// Sends all messages without waiting for an answer, while it compares what comes back.
async fn talk(address: SocketAddr, client: u64) -> Result<usize> {
    let (websocket, _) = connect_async(format!("ws://localhost:{}/", address.port())).await?;
    let (mut sink, mut source) = websocket.split();
    let sending = async {
        for message in messages(client) {
            sink.send(message).await?;
        }
        Result::Ok(())
    };
    let receiving = async {
        let mut pongs = 0;
        let mut echoes = 0;
        for sent in messages(client).filter(|message| !message.is_ping()) {
            let mut echo = source.try_next().await?;
            while matches!(echo, Some(Message::Pong(_))) {
                pongs += 1;
                echo = source.try_next().await?;
            }
            assert!(
                echo == Some(sent),
                "client {client}: echo {echoes} is another message"
            );
            echoes += 1;
        }
        // A pong may stand for several pings.
        assert!(pongs > 0, "client {client}: no pong");
        Result::Ok(echoes)
    };
    let ((), echoes) = tokio::try_join!(sending, receiving)?;
    // The closing handshake. The library ends a connection whose peer has closed it, and drops what it was to send.
    sink.close().await?;
    while let Some(message) = source.try_next().await? {
        assert!(
            message.is_close() || message.is_pong(),
            "client {client}: {message} came last"
        );
    }
    Ok(echoes)
}
