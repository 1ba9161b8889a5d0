//! What `benches/peers/run` needs besides the proxies: an upstream, an open-loop client, a proxy of hyper alone, and the
//! folder that scopegate is configured from. Run that script; this program alone measures nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may stop at the first surprise"
)]

#[path = "../shared/answer.rs"]
mod answer;
#[path = "../shared/bare.rs"]
mod bare;
#[path = "../shared/estate.rs"]
mod estate;
mod latency;
#[path = "../shared/product.rs"]
mod product;
mod upstream;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use estate::{GUARDRAILS, Size, token, write_policies};

const APPS: usize = 50;

/// The app that asks for issues is the eighth. Uploads need a scope that the estate's grants give in other projects only.
const UPLOADS: &str = "\
version: 1
app: jira/app-00007
grants:
  - {for: attachments, scopes: ['write:jira-work'], actors: [app, user], tenants: [acme], in: {project: [PROJ]}}
";

/// What reaches the whole site is asked for by the ninth: a guardrail on a few projects takes that from all others.
const WHOLE_SITE: &str = "\
version: 1
app: jira/app-00008
grants:
  - {for: export, operations: [searchAndReconsileIssuesUsingJql, getAttachmentContent], actors: [app, user], tenants: [acme], in: all}
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["estate", folder] => write_estate(Path::new(folder)),
        ["upstream", listen] => bare::run(listener(listen), upstream::serve),
        ["bare", listen, upstream] => {
            let upstream: SocketAddr = upstream.parse().expect("an address");
            bare::run(listener(listen), move |listener| {
                bare::accept(listener, move |stream| bare::pass_through(stream, upstream))
            });
        }
        ["latency", address, path, token, rate, connections, seconds] => {
            let load = latency::Load {
                address: address.parse().expect("an address"),
                path,
                token,
                rate: rate.parse().expect("requests per second"),
                connections: connections.parse().expect("a number of connections"),
                seconds: seconds.parse().expect("seconds"),
            };
            println!("{}", latency::run(&load));
        }
        _ => println!("benches/peers/run measures the gate beside nginx, HAProxy and Envoy"),
    }
}

fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).expect("a port")
}

/// 50 apps with 10 grants each and three guardrails, a certificate, and on standard output the token of each app.
fn write_estate(folder: &Path) {
    write_policies(folder, Size { apps: APPS, grants: 10 });
    std::fs::write(folder.join("policies/uploads.yaml"), UPLOADS).expect("a file");
    std::fs::write(folder.join("policies/whole-site.yaml"), WHOLE_SITE).expect("a file");
    let guardrails = GUARDRAILS.replace("apps: all", "apps: {product: jira, except: [jira/app-00008]}");
    assert_ne!(guardrails, GUARDRAILS);
    std::fs::write(folder.join("policies/guardrails.yaml"), guardrails).expect("a file");
    let pair = rcgen::generate_simple_self_signed(["gate.internal".to_owned()]).expect("a certificate");
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    std::fs::write(folder.join("tls.crt"), &certificate).expect("a file");
    std::fs::write(folder.join("tls.key"), &key).expect("a file");
    // HAProxy reads both from one file.
    std::fs::write(folder.join("tls.pem"), certificate + &key).expect("a file");
    for app in 0..APPS {
        println!("{}", token("jira", app));
    }
}
