//! Every connection of git over http goes through here: a SOCKS server (RFC 1928) on the loopback interface that resolves
//! and dials by the rules. So a redirect or a submodule leads nowhere that the repository's own address may not, and nothing
//! is read out of what goes by.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::network::{Network, Unreached, carry};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const GRANTED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const UNREACHABLE: u8 = 4;

/// The server, which ends with this value.
pub(super) struct Guard {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    network: Network,
    /// Why the newest connection that was not made was not.
    problem: Mutex<Option<Unreached>>,
    is_over: AtomicBool,
}

impl Guard {
    pub(super) fn start(network: Network) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { network, problem: Mutex::new(None), is_over: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                // a broken connection is for git to tell
                thread::spawn(move || shared.serve(client).ok());
            }
        });
        Ok(Self { address, shared })
    }

    /// As git's `http.proxy` takes it: names come here unresolved.
    pub(super) fn proxy(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// Why git got no connection, in more words than it knows.
    pub(super) fn take_problem(&self) -> Option<Unreached> {
        self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // wakes it up
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let [version, methods] = read(&mut client)?;
        if version != VERSION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        io::copy(&mut (&client).take(methods.into()), &mut io::sink())?;
        client.write_all(&[VERSION, NO_LOGIN])?;
        let [version, command, _, kind] = read(&mut client)?;
        if (version, command) != (VERSION, CONNECT) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let host = host(&mut client, kind)?;
        let port = u16::from_be_bytes(read(&mut client)?);
        match self.network.dial(&host, port) {
            Ok(server) => {
                client.write_all(&reply(GRANTED))?;
                both_ways(client, server)
            }
            Err(problem) => {
                let code = if matches!(problem, Unreached::Refused(_)) { NOT_ALLOWED } else { UNREACHABLE };
                *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                client.write_all(&reply(code))
            }
        }
    }
}

fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn host(client: &mut TcpStream, kind: u8) -> io::Result<String> {
    match kind {
        IPV4 => Ok(Ipv4Addr::from(read::<4>(client)?).to_string()),
        IPV6 => Ok(Ipv6Addr::from(read::<16>(client)?).to_string()),
        NAME => {
            let [length] = read(client)?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name)?;
            String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData.into())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// With an address of our own that nobody wants to know.
fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

/// Both ways, until both are done.
fn both_ways(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || {
        carry(from, &to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    carry(&server, &client).ok();
    client.shutdown(Shutdown::Write).ok();
    up.join().ok();
    Ok(())
}
