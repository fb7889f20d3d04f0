//! hyper, server and client: HTTP/1.1 and HTTP/2, plain and over rustls.
//!
//! ```text
//! web serve [CERTIFICATE]                  serves until Ctrl-C; over TLS if there is a file to write the certificate to
//! web get URL [CERTIFICATE]                prints the body of the answer
//! web load 1|2 CLIENTS REQUESTS URL [CERTIFICATE]   clients that each send so many requests by HTTP/1.1 or 2
//! web crowd ADDRESS                        idle connections, slow readers, resets, and clients that work beside them
//! web alone                                server and clients in one process
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use futures_util::{stream, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use programs::{arguments, listen, noise, run, tls_client, tls_client_of, Certificate, Result};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What is still in flight so long after Ctrl-C is cut off.
const GRACE: Duration = Duration::from_secs(3);

/// The sizes of the bodies that clients send: around the limits of frames and windows, and larger than any buffer.
const SIZES: [usize; 7] = [0, 1, 1_000, 16_384, 65_535, 65_536, 3_000_000];

fn main() -> ExitCode {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(async {
        match words[..] {
            ["serve"] => serve_until_interrupt(None).await,
            ["serve", file] => serve_until_interrupt(Some(file)).await,
            ["get", url] | ["get", url, _] => get(url, tls_client_of(arguments.get(2))?).await,
            ["load", version, clients, requests, url]
            | ["load", version, clients, requests, url, _] => {
                let tls = tls_client_of(arguments.get(5))?;
                load(
                    url,
                    version == "2",
                    clients.parse()?,
                    requests.parse()?,
                    tls,
                )
                .await
            }
            ["crowd", address] => crowd(address.parse()?).await,
            ["alone"] => alone().await,
            _ => Err("usage: see the head of web.rs".into()),
        }
    })
}

// --- the server ------------------------------------------------------------------------------------------------

async fn serve_until_interrupt(certificate_file: Option<&str>) -> Result<()> {
    let tls = match certificate_file {
        Some(file) => {
            let certificate = Certificate::new()?;
            fs::write(file, &certificate.pem)?;
            Some(certificate.server(&["h2", "http/1.1"])?.into())
        }
        None => None,
    };
    let listener = listen().await?;
    let interrupt = async { drop(tokio::signal::ctrl_c().await) };
    if serve(listener, tls, interrupt).await? {
        println!("stopped: all was answered");
    } else {
        println!("stopped: something was cut off");
    }
    Ok(())
}

/// Serves until `stop` is ready. Says whether all requests were answered in time.
async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) -> Result<bool> {
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            () = &mut stop => break,
        };
        stream.set_nodelay(true)?;
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        // Clients may do what they like, so their errors are of no interest here.
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            match tls {
                Some(tls) => {
                    let stream = TokioIo::new(tls.accept(stream).await?);
                    let connection = server.serve_connection(stream, service_fn(answer));
                    watcher.watch(connection).await
                }
                None => {
                    let connection =
                        server.serve_connection(TokioIo::new(stream), service_fn(answer));
                    watcher.watch(connection).await
                }
            }
        });
    }
    drop(listener);
    Ok(tokio::time::timeout(GRACE, graceful.shutdown())
        .await
        .is_ok())
}

type AnyBody = BoxBody<Bytes, hyper::Error>;

async fn answer(
    request: Request<Incoming>,
) -> std::result::Result<Response<AnyBody>, hyper::Error> {
    let path = request.uri().path();
    let body = match (request.method(), path) {
        (&Method::GET, "/") => whole("hello, world\n"),
        (&Method::POST, "/echo") => request.into_body().boxed(),
        (&Method::POST, "/sha256") => {
            let mut context = ring::digest::Context::new(&ring::digest::SHA256);
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    context.update(&data);
                }
            }
            let digest = context.finish();
            let digits: String = digest
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            whole(&(digits + "\n"))
        }
        (&Method::GET, path) => match path.strip_prefix("/lines/").map(str::parse) {
            Some(Ok(count)) => lines(count),
            _ => return Ok(not_found()),
        },
        _ => return Ok(not_found()),
    };
    Ok(Response::new(body))
}

fn not_found() -> Response<AnyBody> {
    let mut response = Response::new(whole("not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn whole(text: &str) -> AnyBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(never)
        .boxed()
}

fn never(error: Infallible) -> hyper::Error {
    match error {}
}

/// The numbers from 1 on, one a line, as `seq` prints them. They are made while the client reads.
fn lines(count: u64) -> AnyBody {
    const A_PIECE: u64 = 2_000;
    let pieces = (0..count).step_by(A_PIECE as usize).map(move |first| {
        let last = (first + A_PIECE).min(count);
        let text: String = (first..last)
            .map(|line| format!("{}\n", line + 1))
            .collect();
        Ok(Frame::data(Bytes::from(text)))
    });
    BodyExt::boxed(StreamBody::new(stream::iter(pieces)))
}

// --- the clients -----------------------------------------------------------------------------------------------

/// A client as libraries on hyper make it: it resolves names, connects, keeps connections, and starts new ones.
fn client<B>(
    tls: ClientConfig,
    http2: bool,
) -> Client<impl hyper_util::client::legacy::connect::Connect + Clone, B>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match http2 {
        true => connector.enable_http2().build(),
        false => connector.enable_http1().build(),
    };
    Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build(connector)
}

async fn get(url: &str, tls: ClientConfig) -> Result<()> {
    let client = client::<Full<Bytes>>(tls, false);
    let response = client.get(url.parse()?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the status is {}", response.status()).into());
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            io::stdout().write_all(&data)?;
        }
    }
    Ok(())
}

/// Sends bodies in pieces to `/echo`, and compares what comes back. Each client has connections of its own: by HTTP/2
/// one that carries all requests at once, by HTTP/1.1 up to four, which are used again and again.
async fn load(
    url: &str,
    http2: bool,
    clients: usize,
    requests: usize,
    tls: ClientConfig,
) -> Result<()> {
    let url: Uri = format!("{url}/echo").parse()?;
    let at_once = if http2 { requests } else { 4 };
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let (url, client) = (url.clone(), client(tls.clone(), http2));
        tasks.spawn(async move {
            let mut sent = 0;
            let mut results = stream::iter(0..requests)
                .map(|request| echo(&client, &url, http2, number, request))
                .buffer_unordered(at_once);
            while let Some(result) = results.next().await {
                sent += result?;
            }
            Result::Ok(sent)
        });
    }
    let mut sent = 0;
    while let Some(result) = tasks.join_next().await {
        sent += result??;
    }
    let version = if http2 { "HTTP/2" } else { "HTTP/1.1" };
    println!(
        "{version}: {} requests, {sent} bytes came back",
        clients * requests
    );
    Ok(())
}

/// One request. Returns the length of its body.
async fn echo<C>(
    client: &Client<C, BoxBody<Bytes, Infallible>>,
    url: &Uri,
    http2: bool,
    number: usize,
    request: usize,
) -> Result<usize>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let size = SIZES[(number + request) % SIZES.len()];
    let bytes = Bytes::from(noise((number * 1_000 + request) as u64, size));
    let pieces: Vec<_> = (0..size)
        .step_by(10_000)
        .map(|at| Ok(Frame::data(bytes.slice(at..size.min(at + 10_000)))))
        .collect();
    let body = BodyExt::boxed(StreamBody::new(stream::iter(pieces)));
    let response = client.request(Request::post(url).body(body)?).await?;
    let expected = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    assert_eq!(
        (response.status(), response.version()),
        (StatusCode::OK, expected)
    );
    let back = response.into_body().collect().await?.to_bytes();
    assert!(
        back == bytes,
        "{size} bytes were sent, and {} others came back",
        back.len()
    );
    Ok(size)
}

/// What most connections of a real server do: nothing, or not much.
async fn crowd(address: SocketAddr) -> Result<()> {
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(TcpStream::connect(address).await?);
    }
    let mut others = JoinSet::new();
    for number in 0..50 {
        others.spawn(read_slowly(address));
        others.spawn(break_off(address, number));
    }
    let tls = tls_client_of(None)?;
    load(&format!("http://{address}"), false, 4, 20, tls).await?;
    while let Some(done) = others.join_next().await {
        done??;
    }
    // Those that were idle are served, too.
    for stream in &mut idle {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await?;
    }
    for mut stream in idle {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello, world\n"),
            "{answer}"
        );
    }
    println!("500 idle connections and 50 slow readers were served");
    Ok(())
}

/// Resets the connection in the middle of a request or of an answer.
async fn break_off(address: SocketAddr, number: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_zero_linger()?;
    if number.is_multiple_of(2) {
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(head).await?;
        stream.write_all(&noise(1, 50_000)).await?;
    } else {
        stream
            .write_all(b"GET /lines/1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await?;
    }
    stream.read_exact(&mut [0; 1_000]).await?;
    Ok(())
}

/// Reads an answer of some megabytes, and lets the server wait again and again.
async fn read_slowly(address: SocketAddr) -> Result<()> {
    const LINES: usize = 300_000;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /lines/{LINES} HTTP/1.0\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut pauses) = (Vec::new(), 0);
    while stream.read_buf(&mut answer).await? > 0 {
        if answer.len() / 100_000 > pauses {
            pauses += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("there is no body")?;
    assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
    let expected: String = (1..=LINES).map(|line| format!("{line}\n")).collect();
    assert!(
        body == expected,
        "{} bytes came instead of {}",
        body.len(),
        expected.len()
    );
    Ok(())
}

// --- both ------------------------------------------------------------------------------------------------------

async fn alone() -> Result<()> {
    let certificate = Certificate::new()?;
    let trusting = tls_client(&certificate.pem)?;
    for tls in [None, Some(certificate.server(&["h2", "http/1.1"])?.into())] {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, tls, async { drop(stopped.await) }));
        for http2 in [false, true] {
            load(
                &format!("{scheme}://{address}"),
                http2,
                5,
                20,
                trusting.clone(),
            )
            .await?;
        }
        if scheme == "http" {
            crowd(address).await?;
        }
        drop(stop);
        assert!(
            server.await??,
            "a request is in flight, but all were answered"
        );
    }
    Ok(())
}
