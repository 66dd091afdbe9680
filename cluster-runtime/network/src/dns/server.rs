//! The server that answers questions for names, and asks others for what is outside the cluster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use super::{Names, Resolution};

/// Seconds for which an answer may be kept: short, since services come and go.
const TTL_SECONDS: u32 = 5;
/// A TCP client that is silent for so long is disconnected.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a TCP client.
const TCP_QUEUE: usize = 32;
/// Aliases followed inside the cluster before giving up.
const ALIAS_DEPTH_MAX: usize = 8;

/// A running DNS server.
pub(crate) struct DnsServer {
    names: Arc<RwLock<Arc<Names>>>,
    server: hickory_server::Server<Handler>,
}

struct Handler {
    names: Arc<RwLock<Arc<Names>>>,
    upstream: Option<TokioResolver>,
}

impl DnsServer {
    /// Listens on UDP and TCP.
    pub(crate) async fn start(address: Ipv4Addr, port: u16, upstream: &[SocketAddr]) -> io::Result<Self> {
        let names = Arc::new(RwLock::new(Arc::new(Names::default())));
        let handler = Handler {
            names: names.clone(),
            upstream: resolver(upstream)?,
        };
        let mut server = hickory_server::Server::new(handler);
        server.register_socket(UdpSocket::bind((address, port)).await?);
        server.register_listener(TcpListener::bind((address, port)).await?, TCP_IDLE, TCP_QUEUE);
        Ok(Self { names, server })
    }

    /// Answers with these names from now on.
    pub(crate) fn publish(&self, names: Names) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }

    /// Answers what was asked and stops.
    pub(crate) async fn stop(mut self) {
        // It ends either way; what it may report is a listener that had failed before.
        let _ = self.server.shutdown_gracefully().await;
    }
}

/// A resolver that asks these servers; none where there are none to ask.
fn resolver(upstream: &[SocketAddr]) -> io::Result<Option<TokioResolver>> {
    if upstream.is_empty() {
        return Ok(None);
    }
    let servers = upstream.iter().map(|address| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build();
    resolver.map(Some).map_err(io::Error::other)
}

impl Handler {
    async fn answer(&self, name: &Name, kind: RecordType) -> Result<(Vec<Record>, bool), ResponseCode> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut answers: Vec<Record> = Vec::new();
        let mut asked = name.clone();
        for _ in 0..ALIAS_DEPTH_MAX {
            let records = match names.resolve(&asked, kind) {
                Resolution::Found(records) => records,
                Resolution::Unknown if answers.is_empty() => return Err(ResponseCode::NXDomain),
                Resolution::Unknown => return Ok((answers, true)),
                Resolution::Outside => {
                    let authoritative = !answers.is_empty();
                    match self.ask_upstream(&asked, kind).await {
                        Ok(records) => answers.extend(records),
                        // The alias itself is the answer where its target cannot be reached.
                        Err(_) if authoritative => {}
                        Err(code) => return Err(code),
                    }
                    return Ok((answers, authoritative));
                }
            };
            let alias = match records.as_slice() {
                [RData::CNAME(target)] if kind != RecordType::CNAME => Some(target.0.clone()),
                _ => None,
            };
            answers.extend(
                records
                    .into_iter()
                    .map(|data| Record::from_rdata(asked.clone(), TTL_SECONDS, data)),
            );
            match alias {
                Some(target) => asked = target,
                None => return Ok((answers, true)),
            }
        }
        Ok((answers, true))
    }

    async fn ask_upstream(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
        let Some(upstream) = &self.upstream else {
            return Err(ResponseCode::Refused);
        };
        match upstream.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError => Ok(Vec::new()),
                code => Err(code),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(code),
            Err(_) => Err(ResponseCode::ServFail),
        }
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let answered = match request.request_info() {
            Ok(info) if info.metadata.op_code == OpCode::Query => {
                let name = Name::from(info.query.name().clone());
                self.answer(&name, info.query.query_type()).await
            }
            Ok(_) => Err(ResponseCode::NotImp),
            Err(_) => Err(ResponseCode::FormErr),
        };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = self.upstream.is_some();
        let (records, authoritative) = match answered {
            Ok(answer) => answer,
            Err(code) => {
                metadata.response_code = code;
                (Vec::new(), code == ResponseCode::NXDomain)
            }
        };
        metadata.authoritative = authoritative;
        let response =
            MessageResponseBuilder::from_message_request(request).build(metadata, &records, [], [], []);
        match responses.send_response(response).await {
            Ok(info) => info,
            // The client is gone; there is nobody to tell.
            Err(_) => ResponseInfo::from(Header {
                metadata,
                counts: HeaderCounts::default(),
            }),
        }
    }
}
