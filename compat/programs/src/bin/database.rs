//! A PostgreSQL client by tokio-postgres.
//!
//! ```text
//! database work PARAMETERS       queries, pipelines, copies, notices, cancellation, whose results are compared
//! database survive PARAMETERS    waits in several ways until the server is killed: each must end with an error
//! ```

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{stream, SinkExt, StreamExt, TryStreamExt};
use programs::{arguments, noise, run, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Error, NoTls};

fn main() -> ExitCode {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(async {
        match words[..] {
            ["work", parameters] => work(parameters).await,
            ["survive", parameters] => survive(parameters).await,
            _ => Err("usage: see the head of database.rs".into()),
        }
    })
}

/// A connection, whose own task ends when the client has been dropped.
async fn connect(
    parameters: &str,
) -> std::result::Result<(Client, JoinHandle<std::result::Result<(), Error>>), Error> {
    let (client, connection) = tokio_postgres::connect(parameters, NoTls).await?;
    Ok((client, tokio::spawn(connection)))
}

async fn work(parameters: &str) -> Result<()> {
    let (client, connection) = connect(parameters).await?;
    client
        .batch_execute("DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (number INT PRIMARY KEY, bytes BYTEA)")
        .await?;

    // Queries that are sent at once, and one answer after the other.
    let square = client.prepare("SELECT $1::INT8 * $1::INT8").await?;
    let squares = (0..2_000i64).map(|number| {
        let (client, square) = (&client, &square);
        async move { client.query_one(square, &[&number]).await }
    });
    for (number, row) in (0i64..).zip(try_join_all(squares).await?) {
        assert_eq!(row.get::<_, i64>(0), number * number);
    }

    // A value of some megabytes, both ways.
    let large = noise(1, 20_000_000);
    client
        .execute("INSERT INTO numbers VALUES (-1, $1)", &[&large])
        .await?;
    let row = client
        .query_one("SELECT bytes FROM numbers WHERE number = -1", &[])
        .await?;
    assert!(row.get::<_, Vec<u8>>(0) == large, "other bytes came back");
    client.execute("DELETE FROM numbers", &[]).await?;

    // A copy into a table and out of it.
    let rows: Vec<String> = (0..200_000)
        .map(|number| format!("{number}\t\\\\x{number:08x}\n"))
        .collect();
    let copy = client.copy_in("COPY numbers FROM STDIN").await?;
    let mut copy = std::pin::pin!(copy);
    let mut pieces = stream::iter(
        rows.chunks(1_000)
            .map(|rows| Ok(Bytes::from(rows.concat()))),
    );
    copy.send_all(&mut pieces).await?;
    assert_eq!(copy.finish().await?, 200_000);
    let copy = client
        .copy_out("COPY (SELECT * FROM numbers ORDER BY number) TO STDOUT")
        .await?;
    let back: Vec<Bytes> = copy.try_collect().await?;
    assert!(
        back.concat() == rows.concat().into_bytes(),
        "other rows came back"
    );

    // Many connections.
    let connections = (0..20).map(|_| async {
        let (client, connection) = connect(parameters).await?;
        for _ in 0..20 {
            let sum: i64 = client
                .query_one("SELECT sum(number) FROM numbers", &[])
                .await?
                .get(0);
            assert_eq!(sum, 199_999 * 100_000);
        }
        drop(client);
        connection.await.expect("the connection has panicked")
    });
    try_join_all(connections).await?;

    // Notices that nobody asked for at that time.
    let (listening, mut notices) = tokio_postgres::connect(parameters, NoTls).await?;
    let (told, mut tells) = mpsc::unbounded_channel();
    let listener = tokio::spawn(async move {
        let mut messages = stream::poll_fn(|context| notices.poll_message(context));
        while let Some(message) = messages.next().await {
            if let Ok(AsyncMessage::Notification(notice)) = message {
                drop(told.send(notice.payload().to_string()));
            }
        }
    });
    listening.batch_execute("LISTEN news").await?;
    for number in 0..500 {
        client
            .execute("SELECT pg_notify('news', $1)", &[&number.to_string()])
            .await?;
    }
    for number in 0..500 {
        assert_eq!(tells.recv().await, Some(number.to_string()));
    }
    drop(listening);
    listener.await?;

    // A query that is cancelled, by a connection of its own.
    let cancel = client.cancel_token();
    let canceller = async {
        // The query may not have begun, so this goes on until it has ended.
        loop {
            cancel.cancel_query(NoTls).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let error = tokio::select! {
        slept = client.batch_execute("SELECT pg_sleep(1000)") => slept.expect_err("it has slept"),
        error = canceller => return error,
    };
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));

    drop(client);
    connection.await??;
    println!("all answers are right");
    Ok(())
}

async fn survive(parameters: &str) -> Result<()> {
    let (sleeping, sleeps) = connect(parameters).await?;
    let (idle, idles) = connect(parameters).await?;
    let (busy, _) = connect(parameters).await?;
    let sleeping =
        tokio::spawn(async move { sleeping.batch_execute("SELECT pg_sleep(1000)").await });
    let busy = tokio::spawn(async move {
        let large = noise(2, 1_000_000);
        loop {
            if let Err(error) = busy.query("SELECT $1::BYTEA", &[&large]).await {
                break error;
            }
        }
    });
    idle.batch_execute("SELECT 1").await?;
    println!("waiting");

    let error = sleeping.await?.expect_err("it has slept");
    println!("a query that waits: {error}");
    println!("a busy connection: {}", busy.await?);
    println!("the connections: {:?}, {:?}", sleeps.await?, idles.await?);
    let error = idle
        .batch_execute("SELECT 1")
        .await
        .expect_err("the server has answered");
    println!("a query afterwards: {error}");
    let error = connect(parameters)
        .await
        .err()
        .ok_or("the server is still there")?;
    println!("a new connection: {error}");
    println!("all has ended");
    Ok(())
}
