//! A Redis client by the `redis` crate.
//!
//! ```text
//! cache work URL      commands, pipelines, large values, subscriptions and many clients, whose results are compared
//! cache survive URL   waits in several ways until the server is killed: each must end with an error
//! ```

use std::process::ExitCode;

use futures_util::future::try_join_all;
use futures_util::StreamExt;
use programs::{arguments, noise, run, Result};
use redis::aio::MultiplexedConnection;
use redis::{cmd, pipe, AsyncCommands, AsyncConnectionConfig, Client, RedisResult};

fn main() -> ExitCode {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(async {
        match words[..] {
            ["work", url] => work(Client::open(url)?).await,
            ["survive", url] => survive(Client::open(url)?).await,
            _ => Err("usage: see the head of cache.rs".into()),
        }
    })
}

/// A connection whose answers may take as long as they like.
async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
}

async fn work(client: Client) -> Result<()> {
    let mut connection = connect(&client).await?;
    let _: () = cmd("FLUSHALL").query_async(&mut connection).await?;

    // A pipeline of many commands, whose answers come in their order.
    let mut pipeline = pipe();
    for number in 0..10_000 {
        pipeline.set(number, number * 7).ignore();
    }
    for number in 0..10_000 {
        pipeline.get(number);
    }
    let numbers: Vec<u64> = pipeline.query_async(&mut connection).await?;
    assert!(numbers.into_iter().eq((0..10_000).map(|number| number * 7)));

    // A value of some megabytes, both ways.
    let large = noise(1, 20_000_000);
    let _: () = connection.set("large", &large).await?;
    let back: Vec<u8> = connection.get("large").await?;
    assert!(back == large, "{} other bytes came back", back.len());

    // Many tasks on one connection, and many connections.
    let one = (0..50).map(|_| count(connection.clone(), "one"));
    let connections = try_join_all((0..50).map(|_| connect(&client))).await?;
    let many = connections
        .into_iter()
        .map(|connection| count(connection, "many"));
    tokio::try_join!(try_join_all(one), try_join_all(many))?;
    let counts: (u64, u64) = connection.mget(&["one", "many"]).await?;
    assert_eq!(counts, (5_000, 5_000));

    // Subscribers each get all that is published, in its order.
    let mut subscribers = Vec::new();
    for _ in 0..5 {
        let mut subscriber = client.get_async_pubsub().await?;
        subscriber.subscribe("news").await?;
        subscribers.push(tokio::spawn(async move {
            let news = subscriber.into_on_message().take(2_000);
            news.map(|message| message.get_payload::<u64>())
                .collect::<Vec<_>>()
                .await
        }));
    }
    for number in 0..2_000 {
        let receivers: u64 = connection.publish("news", number).await?;
        assert_eq!(receivers, 5);
    }
    for subscriber in subscribers {
        let news: RedisResult<Vec<u64>> = subscriber.await?.into_iter().collect();
        assert!(news?.into_iter().eq(0..2_000));
    }

    // A command that waits, and one that ends the wait.
    let mut waiting = connect(&client).await?;
    let waiting =
        tokio::spawn(async move { waiting.blpop::<_, (String, String)>("queue", 0.0).await });
    let _: u64 = connection.rpush("queue", "at last").await?;
    assert_eq!(
        waiting.await??,
        ("queue".to_string(), "at last".to_string())
    );

    println!("all answers are right");
    Ok(())
}

async fn count(mut connection: MultiplexedConnection, key: &str) -> RedisResult<()> {
    for _ in 0..100 {
        let _: u64 = connection.incr(key, 1).await?;
    }
    Ok(())
}

async fn survive(client: Client) -> Result<()> {
    let mut waiting = connect(&client).await?;
    let waiting =
        tokio::spawn(async move { waiting.blpop::<_, Vec<String>>("nothing", 0.0).await });
    let mut busy = connect(&client).await?;
    let busy = tokio::spawn(async move {
        let large = noise(2, 1_000_000);
        loop {
            if let Err(error) = busy.set::<_, _, ()>("busy", &large).await {
                break error;
            }
        }
    });
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe("silence").await?;
    let mut later = connect(&client).await?;
    let _: () = later.set("ready", 1).await?;
    println!("waiting");

    let error = waiting.await?.expect_err("the server has answered");
    println!("a command that waits: {error}");
    println!("a busy connection: {}", busy.await?);
    // The stream of messages ends, since there is no other way to tell.
    assert!(subscriber.on_message().next().await.is_none());
    let error = later
        .get::<_, u64>("ready")
        .await
        .expect_err("the server has answered");
    println!("a command afterwards: {error}");
    let error = connect(&client)
        .await
        .err()
        .ok_or("the server is still there")?;
    println!("a new connection: {error}");
    println!("all has ended");
    Ok(())
}
