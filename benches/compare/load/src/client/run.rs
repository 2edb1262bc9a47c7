//! The loop that drives a scene's connections through its phases: open, warm up, stand still,
//! work for the measured time, stand still again. Counts only what began and ended in the
//! measured phase.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde_json::{Value, json};

use crate::arguments::Load;
use crate::client::Scene;
use crate::client::connection::{Connection, Step};
use crate::latency::Latencies;
use crate::socket::Socket;

/// An answer later than this is lost: loopback and one busy core explain milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many connections of a scene that rests are being opened, or asked, at once.
const IDLE_AT_ONCE: usize = 64;

/// One scene being played.
pub struct Run {
    scene: Scene,
    address: SocketAddr,
    host: String,
    sockets: usize,
    bytes: usize,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    /// Connections with something under way.
    busy: usize,
    /// Whether an answered connection asks again.
    asking: bool,
    measuring: bool,
    opened: usize,
    count: u64,
    elapsed: Duration,
    latencies: Latencies,
    errors: u64,
    why: Vec<String>,
    heard: Instant,
}

impl Run {
    /// A run with nothing open yet.
    pub fn new(scene: Scene, address: SocketAddr, load: &Load) -> io::Result<Self> {
        Ok(Self {
            scene,
            address,
            host: address.to_string(),
            sockets: load.sockets,
            bytes: load.bytes,
            poll: Poll::new()?,
            connections: Vec::with_capacity(load.sockets),
            busy: 0,
            asking: false,
            measuring: false,
            opened: 0,
            count: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::default(),
            errors: 0,
            why: Vec::new(),
            heard: Instant::now(),
        })
    }

    /// Whether any answer was missing or not the right one.
    pub fn failed(&self) -> bool {
        self.errors > 0
    }

    /// Opens the connections, works for `warmup`, and comes to rest.
    pub fn prepare(&mut self, warmup: Duration) -> io::Result<()> {
        self.asking = !self.scene.rests();
        let at_once = if self.asking { self.sockets } else { self.sockets.min(IDLE_AT_ONCE) };
        for number in 0..at_once {
            self.open(number);
        }
        if self.asking {
            self.work(Some(Instant::now() + warmup))?;
        }
        self.rest()
    }

    /// Works for `seconds` (the idle scene: asks each connection once; the heartbeat scene: answers
    /// pings, and counts them) and comes to rest.
    pub fn measure(&mut self, seconds: Duration) -> io::Result<()> {
        self.measuring = true;
        self.asking = !self.scene.rests();
        let began = Instant::now();
        if self.scene == Scene::Heartbeat {
            self.work(Some(began + seconds))?;
        } else if self.asking {
            for index in 0..self.connections.len() {
                self.wake(index);
            }
            self.work(Some(began + seconds))?;
            self.rest()?;
        } else {
            for first in (0..self.connections.len()).step_by(IDLE_AT_ONCE) {
                for index in first..(first + IDLE_AT_ONCE).min(self.connections.len()) {
                    self.wake(index);
                }
                self.rest()?;
            }
        }
        self.elapsed = began.elapsed();
        self.measuring = false;
        Ok(())
    }

    /// What was seen, as one JSON object.
    pub fn result(&mut self) -> Value {
        json!({
            "scene": self.scene.name(),
            "sockets": self.sockets,
            "bytes": self.bytes,
            "count": self.count,
            "seconds": self.elapsed.as_secs_f64(),
            "latency_us": self.latencies.summary(),
            "errors": self.errors,
            "why": self.why,
        })
    }

    /// Lets nothing new begin, and waits for the end of what has.
    fn rest(&mut self) -> io::Result<()> {
        self.asking = false;
        self.work(None)
    }

    /// Handles events until the time is up, or until nothing is under way and no ping is waited for.
    fn work(&mut self, until: Option<Instant>) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.heard = Instant::now();
        let pinged = self.scene == Scene::Heartbeat && until.is_some();
        while (self.busy > 0 || pinged) && until.is_none_or(|until| Instant::now() < until) {
            match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if !events.is_empty() {
                self.heard = Instant::now();
            } else if self.busy > 0 && self.heard.elapsed() > PATIENCE {
                for index in 0..self.connections.len() {
                    if self.at(index).is_some_and(|c| c.step != Step::Resting) {
                        self.fail(index, "no answer came".to_owned());
                    }
                }
            }
            for event in &events {
                let index = event.token().0;
                if let Err(why) = self.advance(index, event.is_read_closed()) {
                    self.fail(index, why);
                }
            }
        }
        Ok(())
    }

    fn at(&mut self, index: usize) -> Option<&mut Connection> {
        self.connections.get_mut(index).and_then(Option::as_mut)
    }

    /// Begins a connection in place `number`.
    fn open(&mut self, number: usize) {
        if self.connections.len() <= number {
            self.connections.resize_with(number + 1, || None);
        }
        self.opened = self.opened.max(number + 1);
        self.busy += 1;
        match Socket::connect(self.address, self.poll.registry(), Token(number)) {
            Ok(socket) => {
                let connection = Connection::new(socket, number, self.bytes);
                if let Some(place) = self.connections.get_mut(number) {
                    *place = Some(connection);
                }
            }
            Err(error) => self.fail(number, format!("connect: {error}")),
        }
    }

    /// Sets a resting connection to work: a new handshake, or the next question.
    fn wake(&mut self, index: usize) {
        if self.scene == Scene::Handshake {
            return self.open(index);
        }
        let step = if self.scene == Scene::Get { Step::Getting } else { Step::Echoing };
        self.busy += 1;
        if let Err(why) = self.ask(index, step) {
            self.fail(index, why);
        }
    }

    fn ask(&mut self, index: usize, step: Step) -> Result<(), String> {
        let Self { connections, host, .. } = self;
        let Some(connection) = connections.get_mut(index).and_then(Option::as_mut) else {
            return Err("the connection is gone".to_owned());
        };
        // A handshake's latency runs from its connect.
        if step != Step::Upgrading {
            connection.asked = Instant::now();
        }
        connection.say(step, host);
        connection.socket.flush().map_err(|error| format!("{step:?}: {error}"))
    }

    /// Handles what an event brought to one connection.
    fn advance(&mut self, index: usize, closed: bool) -> Result<(), String> {
        let pinged = self.scene == Scene::Heartbeat && self.measuring;
        let Some(connection) = self.at(index) else {
            return Ok(());
        };
        let step = connection.step;
        if step == Step::Connecting {
            connection.socket.connected().map_err(|error| format!("connect: {error}"))?;
        } else {
            connection.socket.flush().map_err(|error| format!("{step:?}: {error}"))?;
            connection.socket.fill(closed).map_err(|error| format!("{step:?}: {error}"))?;
            let pings = connection.answer_pings()?;
            connection.socket.flush().map_err(|error| format!("{step:?}: {error}"))?;
            let answered = connection.hear()?;
            self.count += if pinged { pings } else { 0 };
            if !answered {
                return Ok(());
            }
        }
        self.answered(index, step)
    }

    /// A step has had its right answer: counts it and takes the next one.
    fn answered(&mut self, index: usize, step: Step) -> Result<(), String> {
        let (scene, measuring, asking) = (self.scene, self.measuring, self.asking);
        let Some(connection) = self.at(index) else {
            return Ok(());
        };
        let latency = connection.asked.elapsed();
        let next = connection.next(scene);
        if measuring {
            match step {
                Step::Echoing | Step::Getting => {
                    self.count += 1;
                    self.latencies.push(latency);
                }
                Step::Upgrading => self.latencies.push(latency),
                Step::Ending => self.count += 1,
                _ => {}
            }
        }
        let restful = match step {
            Step::Echoing | Step::Getting | Step::Ending => !asking,
            _ => false,
        };
        if next == Step::Over {
            if let Some(place) = self.connections.get_mut(index) {
                *place = None;
            }
            self.busy -= 1;
            if asking {
                self.open(index);
            }
        } else if restful || next == Step::Resting {
            if let Some(connection) = self.at(index) {
                connection.step = Step::Resting;
            }
            self.busy -= 1;
            if scene.rests() && !measuring && self.opened < self.sockets {
                self.open(self.opened);
            }
        } else {
            self.ask(index, next)?;
            // The server's end may already be here, and no new edge would announce it.
            if next == Step::Ending {
                return self.advance(index, true);
            }
        }
        Ok(())
    }

    /// Counts a failure and gives the connection up.
    fn fail(&mut self, index: usize, why: String) {
        self.errors += 1;
        if self.why.len() < 5 && !self.why.contains(&why) {
            self.why.push(why);
        }
        let place = self.connections.get_mut(index);
        let failed = place.and_then(Option::take);
        // A resting connection that fails was not waited for.
        if failed.is_none_or(|connection| connection.step != Step::Resting) {
            self.busy = self.busy.saturating_sub(1);
        }
    }
}
