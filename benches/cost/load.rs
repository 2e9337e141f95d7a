//! Requests over one connection that is kept, one at a time: Envoy closes a connection with three under way.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// How long a response may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A client of one listener.
pub struct Client {
    stream: TcpStream,
    request: String,
    /// Bytes of a response: all are the same but for their date.
    response: usize,
}

impl Client {
    /// Connects, and sends one request.
    pub fn connect(to: SocketAddr, grpc: bool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let content_type = if grpc { "application/grpc" } else { "application/json" };
        let long = "long-value-".repeat(94);
        let request = format!(
            "GET /reviews/7?lang=en HTTP/1.1\r\nhost: reviews.shop:9080\r\nuser-agent: curl/8.14.1\r\naccept: application/json\r\n\
             content-type: {content_type}\r\nx-request-id: 84961386-6d84-929d-98bd-c5aee93b5c88\r\nx-tenant: tenant-042\r\n\
             x-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/reviews;Hash=3f1c2a9be4507d86;Subject=\"\";\
             URI=spiffe://cluster.local/ns/shop/sa/productpage\r\nx-long: {}\r\n\r\n",
            &long[..1024]
        );
        let mut client = Self {
            stream,
            request,
            response: 0,
        };
        client.learn()?;
        Ok(client)
    }

    /// The length of a response.
    fn learn(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(self.request.as_bytes())?;
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        let end = loop {
            let count = self.stream.read(&mut buffer)?;
            ensure!(
                count > 0,
                "the connection was closed: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&buffer[..count]);
            if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "another answer than 200: {head}");
        let body = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = body.map_or(Ok(0), str::parse).context("content-length")?;
        self.response = end + body;
        while seen.len() < self.response {
            let count = self.stream.read(&mut buffer)?;
            ensure!(count > 0, "the connection was closed");
            seen.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    /// Sends that many requests, each when it has the response to the one before.
    pub fn send(&mut self, requests: usize) -> anyhow::Result<()> {
        let mut response = vec![0; self.response];
        for _ in 0..requests {
            self.stream.write_all(self.request.as_bytes())?;
            self.stream.read_exact(&mut response)?;
        }
        Ok(())
    }
}
