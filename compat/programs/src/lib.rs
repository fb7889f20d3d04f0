//! What the programs share: the runtime, the listener, bytes to send, and TLS with a certificate made on the spot.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Runs a program on a runtime with as many threads as the environment's `THREADS` says, or on this thread alone. When
/// the program has ended, the runtime drops all that is still in flight.
pub fn run(program: impl Future<Output = Result<()>>) -> ExitCode {
    let done = runtime().and_then(|runtime| runtime.block_on(program));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:?}");
            ExitCode::FAILURE
        }
    }
}

pub fn runtime() -> Result<Runtime> {
    let threads = match env::var("THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => 0,
    };
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().build()?)
}

/// The arguments of the program.
pub fn arguments() -> Vec<String> {
    env::args().skip(1).collect()
}

/// Listens on a port that the system chooses, and says so to the script that started the program.
pub async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    // An xorshift generator. Its state must not be 0.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A certificate for this machine, signed by itself, with its key.
pub struct Certificate {
    pub pem: String,
    key: String,
}

impl Certificate {
    pub fn new() -> Result<Certificate> {
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let made = rcgen::generate_simple_self_signed(names)?;
        Ok(Certificate {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }

    /// A server that offers these protocols.
    pub fn server(&self, protocols: &[&str]) -> Result<Arc<ServerConfig>> {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Arc::new(config))
    }
}

/// A client that trusts nothing but this certificate.
pub fn tls_client(pem: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The same for a certificate in a file. Without a file it trusts nobody.
pub fn tls_client_of(file: Option<&String>) -> Result<ClientConfig> {
    match file {
        Some(file) => tls_client(&fs::read_to_string(file)?),
        None => tls_client(&Certificate::new()?.pem),
    }
}
