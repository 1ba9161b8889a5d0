//! Reads a URL as far as its origin, unit by unit, so that one reader serves header fields, configuration and JSON
//! strings that are still arriving. What is not plainly an origin is none: nothing here is repaired.

use std::fmt;
use std::net::Ipv6Addr;

use super::Origin;

/// Bytes of a host name that count: DNS ends at 253, and one dot may follow.
const HOST_BYTES_MAX: usize = 254;
/// Digits of a port that count; leading zeros are read as other clients read them.
const PORT_DIGITS_MAX: usize = 8;

/// The schemes that have an origin which a gate can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
}

impl Scheme {
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    pub fn is_socket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"http" => Some(Self::Http),
            b"https" => Some(Self::Https),
            b"ws" => Some(Self::Ws),
            b"wss" => Some(Self::Wss),
            _ => None,
        }
    }
}

/// One character of a URL, as far as origins go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A byte of ASCII. What is not ASCII is `0xff`: it stands in no origin.
    Byte(u8),
    End,
    /// The text goes on, but has not arrived.
    Undecided,
}

/// Text that is read unit by unit. There are two: as it stands, and within a JSON string.
pub trait Units {
    fn next(&mut self) -> Unit;
    /// How many bytes of the text were read.
    fn read(&self) -> usize;
}

/// Text as it stands.
#[derive(Debug)]
pub struct Plain<'t> {
    text: &'t [u8],
    read: usize,
}

impl<'t> Plain<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Self { text, read: 0 }
    }
}

impl Units for Plain<'_> {
    fn next(&mut self) -> Unit {
        let Some(byte) = self.text.get(self.read) else { return Unit::End };
        self.read += 1;
        Unit::Byte(*byte)
    }

    fn read(&self) -> usize {
        self.read
    }
}

/// Why a text begins with no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOrigin {
    /// It begins with something else than `scheme://host:port` or `//host:port`, and what ends it.
    Other,
    /// Too little of it has arrived.
    Undecided,
}

/// The origin that a URL begins with.
#[derive(PartialEq, Eq)]
pub struct Begun {
    /// `None`: that of whoever reads it (`//host/path`).
    pub scheme: Option<Scheme>,
    host: [u8; HOST_BYTES_MAX],
    host_length: usize,
    /// As written; `None` where the scheme's own is meant.
    pub port: Option<u16>,
    /// Where in the text the rest begins.
    pub end: usize,
}

impl Begun {
    /// In lower case, without brackets and a last dot.
    pub fn host(&self) -> &[u8] {
        self.host.get(..self.host_length).unwrap_or_default()
    }

    /// As an origin of its own. `None` for a socket, or where the scheme is the reader's.
    pub fn origin(&self) -> Option<Origin> {
        let scheme = self.scheme.filter(|scheme| !scheme.is_socket())?;
        self.origin_read_by(scheme.is_secure())
    }

    /// The same, read by someone whose own scheme is this.
    pub fn origin_read_by(&self, secure: bool) -> Option<Origin> {
        if self.scheme.is_some_and(Scheme::is_socket) {
            return None;
        }
        let secure = self.scheme.map_or(secure, Scheme::is_secure);
        let host = std::str::from_utf8(self.host()).ok()?.into();
        Some(Origin { secure, host, port: self.port.unwrap_or_else(|| Origin::default_port(secure)) })
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = String::from_utf8_lossy(self.host());
        write!(f, "Begun({:?} {host} {:?} {})", self.scheme, self.port, self.end)
    }
}

/// Reads a text as far as its origin. Bounded: it never asks for more than an origin can have.
///
/// # Errors
/// It begins with no origin, or not yet with a whole one.
pub fn start(units: &mut impl Units) -> Result<Begun, NoOrigin> {
    let scheme = scheme(units)?;
    host_and_port(units, scheme)
}

/// Reads `scheme://`, or `//`.
fn scheme(units: &mut impl Units) -> Result<Option<Scheme>, NoOrigin> {
    let mut name = [0; 5];
    let mut length = 0;
    loop {
        match units.next() {
            Unit::Byte(b'/') if length == 0 => {
                expect(units, b'/')?;
                return Ok(None);
            }
            Unit::Byte(b':') => break,
            Unit::Byte(byte) => *name.get_mut(length).ok_or(NoOrigin::Other)? = byte.to_ascii_lowercase(),
            Unit::End => return Err(NoOrigin::Other),
            Unit::Undecided => return Err(NoOrigin::Undecided),
        }
        length += 1;
    }
    let scheme = Scheme::of(name.get(..length).unwrap_or_default()).ok_or(NoOrigin::Other)?;
    expect(units, b'/')?;
    expect(units, b'/')?;
    Ok(Some(scheme))
}

fn expect(units: &mut impl Units, wanted: u8) -> Result<(), NoOrigin> {
    match units.next() {
        Unit::Byte(byte) if byte == wanted => Ok(()),
        Unit::Byte(_) | Unit::End => Err(NoOrigin::Other),
        Unit::Undecided => Err(NoOrigin::Undecided),
    }
}

/// What ends an authority. A backslash does where browsers read.
fn ends(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#' | b'\\')
}

fn host_and_port(units: &mut impl Units, scheme: Option<Scheme>) -> Result<Begun, NoOrigin> {
    let mut begun = Begun { scheme, host: [0; HOST_BYTES_MAX], host_length: 0, port: None, end: 0 };
    let mut bracketed = false;
    loop {
        begun.end = units.read();
        match units.next() {
            Unit::Undecided => return Err(NoOrigin::Undecided),
            Unit::Byte(b'[') if begun.host_length == 0 && !bracketed => bracketed = true,
            Unit::Byte(b']') if bracketed => {
                address(&mut begun)?;
                begun.end = units.read();
                match units.next() {
                    Unit::Byte(b':') => port(units, &mut begun)?,
                    Unit::Byte(byte) if !ends(byte) => return Err(NoOrigin::Other),
                    Unit::Byte(_) | Unit::End => {}
                    Unit::Undecided => return Err(NoOrigin::Undecided),
                }
                return Ok(begun);
            }
            Unit::Byte(byte) if bracketed && (byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) => {
                push(&mut begun, byte)?;
            }
            Unit::Byte(b':') if !bracketed => {
                name(&mut begun)?;
                port(units, &mut begun)?;
                return Ok(begun);
            }
            Unit::Byte(byte) if !bracketed && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) => {
                push(&mut begun, byte)?;
            }
            Unit::Byte(byte) if !bracketed && ends(byte) => return name(&mut begun).map(|()| begun),
            Unit::End if !bracketed => return name(&mut begun).map(|()| begun),
            // User information, a percent sign, a space, a control: whoever reads on reads something else.
            Unit::Byte(_) | Unit::End => return Err(NoOrigin::Other),
        }
    }
}

fn push(begun: &mut Begun, byte: u8) -> Result<(), NoOrigin> {
    *begun.host.get_mut(begun.host_length).ok_or(NoOrigin::Other)? = byte.to_ascii_lowercase();
    begun.host_length += 1;
    Ok(())
}

fn name(begun: &mut Begun) -> Result<(), NoOrigin> {
    if begun.host().ends_with(b".") {
        begun.host_length -= 1;
    }
    if begun.host_length == 0 { Err(NoOrigin::Other) } else { Ok(()) }
}

/// `[0:0::1]` and `[::1]` are one address.
fn address(begun: &mut Begun) -> Result<(), NoOrigin> {
    let text = std::str::from_utf8(begun.host()).map_err(|_| NoOrigin::Other)?;
    let address: Ipv6Addr = text.parse().map_err(|_| NoOrigin::Other)?;
    let canonical = address.to_string();
    begun.host_length = 0;
    canonical.bytes().try_for_each(|byte| push(begun, byte))
}

/// The digits after a colon, and what ends them. None at all mean the scheme's own port.
fn port(units: &mut impl Units, begun: &mut Begun) -> Result<(), NoOrigin> {
    let mut port: Option<u32> = None;
    for _ in 0..=PORT_DIGITS_MAX {
        begun.end = units.read();
        match units.next() {
            Unit::Byte(digit @ b'0'..=b'9') => port = Some(port.unwrap_or(0) * 10 + u32::from(digit - b'0')),
            Unit::Byte(byte) if !ends(byte) => return Err(NoOrigin::Other),
            Unit::Byte(_) | Unit::End => {
                begun.port = port.map(u16::try_from).transpose().map_err(|_| NoOrigin::Other)?;
                return Ok(());
            }
            Unit::Undecided => return Err(NoOrigin::Undecided),
        }
    }
    Err(NoOrigin::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_or_port_without_end_is_none() {
        let long = format!("https://{}", "a".repeat(10_000));
        let mut units = Plain::new(long.as_bytes());
        assert_eq!(start(&mut units), Err(NoOrigin::Other));
        assert!(units.read() < 300, "it is not read to its end");
    }
}
