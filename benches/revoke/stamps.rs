//! When bytes came, as the kernel says it (`SO_TIMESTAMPNS`), in nanoseconds of Unix time.
//!
//! Over loopback a segment is stamped within the very `write` that sends it, and keeps that stamp however late its reader
//! wakes up. So what was sent before another thing is told from what was sent after it on a machine that is starved as well:
//! nothing waits, and no length of time is taken for enough. What is left is that the kernel joins segments that nobody has
//! read, and gives the whole the last one's stamp: a stamp may be late, and is never early. Whoever sets the clock
//! meanwhile spoils the measure.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of one read.
const PIECE: usize = 4096;

/// Some bytes that came.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    pub bytes: usize,
    /// The kernel stamps nothing for the first moments after it was first asked to.
    pub at: Option<u64>,
}

/// Has what comes on it stamped. What a listener accepts is stamped as it is.
pub fn stamp(socket: &impl AsFd) {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).expect("a socket of Linux");
}

/// By the clock that the kernel stamps with.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    nanos(since.expect("a time after 1970"))
}

/// Reads some bytes and adds them. None come at the end of the connection.
pub async fn read(stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<Came> {
    let mut piece = [0; PIECE];
    let came = stream.async_io(Interest::READABLE, || receive(stream, &mut piece)).await?;
    bytes.extend_from_slice(&piece[..came.bytes]);
    Ok(came)
}

fn receive(stream: &TcpStream, piece: &mut [u8]) -> io::Result<Came> {
    let mut space = nix::cmsg_space!(TimeSpec);
    let mut pieces = [IoSliceMut::new(piece)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut pieces, Some(&mut space), MsgFlags::empty())?;
    let at = message.cmsgs()?.find_map(|told| match told {
        ControlMessageOwned::ScmTimestampns(time) => Some(nanos(time.into())),
        _ => None,
    });
    Ok(Came { bytes: message.bytes, at })
}

fn nanos(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).expect("a time before 2554")
}
