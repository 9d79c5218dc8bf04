//! A name server at an address of its own in 127/8, on the port that every resolver asks.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

pub(crate) struct NameServer {
    address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct Question {
    pub(crate) name: String,
    /// for an address of IPv4; else of IPv6
    pub(crate) is_for_v4: bool,
}

pub(crate) enum Answer {
    Address([u8; 4]),
    /// there is the name, but no such address
    NoAddress,
    NoSuchName,
    /// lost on its way
    Silence,
}

impl NameServer {
    /// Answers for as long as the test lives.
    pub(crate) fn start(answer: impl Fn(&Question) -> Answer + Send + 'static) -> Self {
        // the first that no other test has
        let mut addresses = (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last));
        let bound = addresses.find_map(|address| Some((address, UdpSocket::bind((address, PORT)).ok()?)));
        let (address, socket) = bound.expect("one of 127.53.53.0/24 has port 53 free");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let Some((question, end)) = read(&packet[..length]) else { continue };
                log.lock().unwrap().push(question.name.clone());
                let Some(response) = respond(&packet[..end], answer(&question)) else { continue };
                socket.send_to(&response, from).unwrap();
            }
        });
        NameServer { address, asked }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The names that were asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The first question, and where it ends.
fn read(packet: &[u8]) -> Option<(Question, usize)> {
    let mut at = HEADER_BYTES;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).into_owned());
        at += length;
    }
    let is_for_v4 = packet.get(at..at + 2)? == TYPE_A;
    Some((Question { name: labels.join("."), is_for_v4 }, at + 4))
}

fn respond(question: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let (code, address) = match answer {
        Answer::Address(address) => (0, Some(address)),
        Answer::NoAddress => (0, None),
        Answer::NoSuchName => (3, None),
        Answer::Silence => return None,
    };
    let mut response = question.to_vec();
    // an answer, to a question that wanted recursion; one question, as many answers as there are addresses, no more
    response[2..HEADER_BYTES].copy_from_slice(&[
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(address.is_some()),
        0,
        0,
        0,
        0,
    ]);
    if let Some(address) = address {
        // the name is the one asked for; A, IN, no time to live, four bytes
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        response.extend(address);
    }
    Some(response)
}
