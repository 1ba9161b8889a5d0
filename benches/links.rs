//! What it costs to keep the links of an answer at the gate: a search page of Jira's, in pieces as they come off a socket.
//!
//! Run: `cargo bench --bench links`. The cases take turns in every round; the median and the least of the rounds are
//! printed, per MiB of the answer. `-- ROUNDS` sets the rounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop at the first surprise")]

#[path = "shared/product.rs"]
mod product;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use scopegate::authz::catalog::builtin;
use scopegate::authz::origin::{Origin, Origins};
use scopegate::proxy::links::json::{GateAddress, Rewriter};

/// The answer: a few pages of what a real one holds.
const ISSUES: usize = 600;
/// Bytes of a piece: what one read of a busy connection brings.
const PIECE: usize = 16 * 1024;

fn page(site: &str) -> Bytes {
    let mut page = String::from("{\"startAt\":0,\"issues\":[");
    for number in 0..ISSUES {
        page.push_str(if number > 0 { "," } else { "" });
        product::issue(&mut page, site, number);
    }
    page.push_str("]}");
    Bytes::from(page)
}

fn rewriter() -> Rewriter {
    let jira = builtin::catalog("jira").unwrap();
    let search = jira.operation("searchForIssuesUsingJql").unwrap();
    let rules = Arc::clone(jira.operations[usize::from(search.0)].links.as_ref().unwrap());
    let own = Origins::new(Origin::parse(product::SITE).unwrap(), []);
    Rewriter::new(rules, Arc::new(own), GateAddress::new(true, "jira.gate.example.com"))
}

/// Sends a page through, and says how many bytes came out.
fn rewritten(page: &Bytes) -> usize {
    let mut rewriter = rewriter();
    let mut out = 0;
    for at in (0..page.len()).step_by(PIECE) {
        out += black_box(rewriter.take(page.slice(at..page.len().min(at + PIECE))).unwrap()).len();
    }
    out + rewriter.finish().len()
}

/// What is paid for any change at all.
fn copied(page: &Bytes) -> usize {
    page.chunks(PIECE).map(|piece| black_box(BytesMut::from(piece).freeze()).len()).sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let rounds: usize = arguments.next().map_or(50, |count| count.parse().unwrap());
    let (own, others) = (page(product::SITE), page("https://other.example.org"));
    let links = own.len() / own.windows(8).filter(|window| *window == b"\"self\":\"").count();
    println!("{:.1} MiB, a link every {links} bytes, in pieces of {} KiB", mib(&own), PIECE / 1024);
    assert!(rewritten(&own) > own.len() && rewritten(&others) == others.len());
    type Case = (&'static str, fn(&Bytes) -> usize);
    let cases: [(Case, &Bytes); 3] = [
        (("links of the product, rewritten", rewritten), &own),
        (("links of others, looked at", rewritten), &others),
        (("copied, not looked at", copied), &own),
    ];
    let mut times = cases.map(|_| Vec::new());
    for _ in 0..rounds {
        for (((_, run), page), times) in cases.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(run(page));
            times.push(start.elapsed().as_secs_f64() * 1e6 / mib(page));
        }
    }
    for (((name, _), _), times) in cases.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:<34} {:>7.0} µs/MiB (least {:.0})", times[times.len() / 2], times[0]);
    }
}

fn mib(page: &Bytes) -> f64 {
    page.len() as f64 / (1024.0 * 1024.0)
}
