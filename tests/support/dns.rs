//! A DNS server that says what a test wants, over UDP on loopback.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A server with one zone; it ends with the process.
pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    records: BTreeMap<(String, RecordType), VecDeque<Vec<RData>>>,
    ttl: u32,
    /// What everything is answered with.
    trouble: Option<Trouble>,
    asked: usize,
}

/// What a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    ServFail,
    NxDomain,
    /// No error, and no records.
    Empty,
    Silence,
    /// Bytes that are no answer.
    Noise,
}

impl Dns {
    /// Answers hold for `ttl` seconds.
    pub fn new(ttl: u32) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone { ttl, ..Zone::default() }));
        let served = Arc::clone(&zone);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = served.lock().unwrap().answer(&buffer[..length]) {
                    socket.send_to(&answer, peer).unwrap();
                }
            }
        });
        Self { address, zone }
    }

    /// The addresses of `name`, of both kinds.
    pub fn is(&self, name: &str, addresses: &[IpAddr]) {
        self.turns(name, &[addresses]);
    }

    /// Other addresses with each question, one after another; the last stay.
    pub fn turns(&self, name: &str, turns: &[&[IpAddr]]) {
        let of = |v4: bool| -> VecDeque<Vec<RData>> {
            let wanted = |ip: &&IpAddr| ip.is_ipv4() == v4;
            turns
                .iter()
                .map(|ips| ips.iter().filter(wanted).map(|ip| (*ip).into()).collect())
                .collect()
        };
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert((fqdn(name), RecordType::A), of(true));
        zone.records.insert((fqdn(name), RecordType::AAAA), of(false));
    }

    /// The SRV records of `name`: priority, weight, port, target.
    pub fn services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::from_ascii(fqdn(target)).unwrap();
            RData::SRV(SRV::new(*priority, *weight, *port, target))
        };
        let records = services.iter().map(record).collect();
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert((fqdn(name), RecordType::SRV), VecDeque::from([records]));
    }

    pub fn has(&self, trouble: Option<Trouble>) {
        self.zone.lock().unwrap().trouble = trouble;
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.zone.lock().unwrap().asked
    }
}

impl Zone {
    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(bytes).unwrap();
        let query = question.queries.first().unwrap().clone();
        self.asked += 1;
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let name = query.name().to_ascii().to_ascii_lowercase();
        let known = self.records.keys().any(|(known, _)| *known == name);
        match self.trouble {
            Some(Trouble::Silence) => return None,
            Some(Trouble::Noise) => return Some(vec![0xff; 40]),
            Some(Trouble::ServFail) => answer.metadata.response_code = ResponseCode::ServFail,
            Some(Trouble::NxDomain) => answer.metadata.response_code = ResponseCode::NXDomain,
            None if !known => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Trouble::Empty) => {}
            None => {
                let turns = self.records.get_mut(&(name, query.query_type()));
                let records = turns.and_then(|turns| match turns.len() {
                    0 | 1 => turns.front().cloned(),
                    _ => turns.pop_front(),
                });
                for data in records.unwrap_or_default() {
                    answer.add_answer(Record::from_rdata(query.name().clone(), self.ttl, data));
                }
            }
        }
        Some(answer.to_vec().unwrap())
    }
}

fn fqdn(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}
