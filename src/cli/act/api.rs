//! The admin API of a running gate, asked over its Unix socket, or over TCP with a token or a certificate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::proof::{Proof, To, Way};
use crate::cli::Failure;
use crate::config::Config;

/// Longer than a gate takes to say that an act is not in force.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Thousands of acts or cells; more is not an answer of a gate's.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A gate that runs.
pub struct Api(Way);

impl Api {
    /// The gate of a configuration. `None`: it has no admin listener, or nobody listens there.
    ///
    /// # Errors
    /// Somebody may be there, and cannot be asked.
    pub fn of(config: &Config, proof: &Proof) -> Result<Option<Self>, Failure> {
        let Some(admin) = &config.admin else { return Ok(None) };
        let api = Self(proof.way(admin)?);
        match api.is_there() {
            Ok(()) => Ok(Some(api)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(Failure::Other(format!("the admin listener {}: {error}", api.shown()))),
        }
    }

    fn is_there(&self) -> io::Result<()> {
        match &self.0.to {
            To::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
            To::Tcp(address, _) => std::net::TcpStream::connect(address).map(drop),
        }
    }

    fn shown(&self) -> String {
        match &self.0.to {
            To::Unix(path) => path.display().to_string(),
            To::Tcp(address, _) => address.to_string(),
        }
    }

    /// The generation in force.
    ///
    /// # Errors
    /// The gate has no policy yet, or does not answer.
    pub fn generation(&self) -> Result<u64, Failure> {
        let answer = self.get("/api/v1/snapshot")?;
        let generation = answer.get("generation").and_then(Value::as_u64);
        generation.ok_or_else(|| Failure::Other("the gate does not say which snapshot is in force".to_owned()))
    }

    /// # Errors
    /// The gate does not answer, or refuses.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let (status, answer) = self.ask(&Method::GET, path, None, None)?;
        if status.is_success() {
            return Ok(answer);
        }
        let why = answer.get("error").and_then(Value::as_str).unwrap_or("without a reason");
        Err(Failure::Other(format!("the gate at {} refuses ({status}): {why}", self.shown())))
    }

    /// The answer, or the refusal as the gate words it.
    ///
    /// # Errors
    /// The gate does not answer.
    pub fn post(&self, path: &str, body: &Value, generation: Option<u64>) -> Result<Result<Value, Value>, Failure> {
        let (status, answer) = self.ask(&Method::POST, path, Some(body), generation)?;
        Ok(if status.is_success() { Ok(answer) } else { Err(answer) })
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        generation: Option<u64>,
    ) -> Result<(StatusCode, Value), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(generation) = generation {
            request = request.header(header::IF_MATCH, format!("\"{generation}\""));
        }
        if let Some(token) = &self.0.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(text))).map_err(|error| Failure::Other(error.to_string()))?;
        let exchanged = async {
            match &self.0.to {
                To::Unix(path) => exchange(UnixStream::connect(path).await?, request).await,
                To::Tcp(address, None) => exchange(TcpStream::connect(address).await?, request).await,
                To::Tcp(address, Some((config, name))) => {
                    let connector = TlsConnector::from(Arc::clone(config));
                    let stream = connector.connect(name.clone(), TcpStream::connect(address).await?).await;
                    exchange(stream.map_err(|error| not_believed(&error))?, request).await
                }
            }
        };
        let answer = runtime.block_on(async { timeout(ANSWER_MAX, exchanged).await });
        let silent = |why: String| Failure::Other(format!("the gate at {} does not answer: {why}", self.shown()));
        let (status, bytes) =
            answer.map_err(|_| silent("too slow".to_owned()))?.map_err(|why| silent(why.to_string()))?;
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| serde_json::json!({ "error": String::from_utf8_lossy(&bytes).into_owned() }));
        Ok((status, value))
    }
}

fn not_believed(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{error} (--gate-ca names the authorities of its certificate)"))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> io::Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    Ok((status, body.to_bytes()))
}
