//! What was typed: `COMMAND --key value ...`. Owns the defaults of each scene; knows nothing of
//! how a scene runs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::Scene;

/// The whole command line.
pub struct Arguments {
    /// What to be.
    pub command: Command,
    /// Where the backend listens, or where a scene connects to.
    pub address: SocketAddr,
    /// How much a scene asks for.
    pub load: Load,
}

/// What to be.
pub enum Command {
    /// The echo server behind the proxy.
    Backend,
    /// One kind of client.
    Scene(Scene),
}

/// How much a scene asks for.
pub struct Load {
    /// Connections held at once; for `handshake`, handshakes in flight.
    pub sockets: usize,
    /// Payload of one WebSocket message.
    pub bytes: usize,
    /// How long the measured part lasts.
    pub seconds: Duration,
    /// How long the same work runs before anything is counted.
    pub warmup: Duration,
}

impl Arguments {
    /// Reads the words after the program's name. The error is one line for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let command = match words.next().as_deref() {
            Some("backend") => Command::Backend,
            Some("echo") => Command::Scene(Scene::Echo),
            Some("bulk") => Command::Scene(Scene::Bulk),
            Some("handshake") => Command::Scene(Scene::Handshake),
            Some("get") => Command::Scene(Scene::Get),
            Some("idle") => Command::Scene(Scene::Idle),
            Some("heartbeat") => Command::Scene(Scene::Heartbeat),
            Some(other) => return Err(format!("no command is called {other:?}")),
            None => return Err("a command is missing".to_owned()),
        };
        let mut arguments = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            load: Load::of(&command),
            command,
        };
        while let Some(key) = words.next() {
            let value = words.next().ok_or_else(|| format!("{key} needs a value"))?;
            arguments.set(&key, &value)?;
        }
        if matches!(arguments.command, Command::Scene(_)) && arguments.address.port() == 0 {
            return Err("--address is missing".to_owned());
        }
        Ok(arguments)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|error| format!("{key} {value}: {error}"));
        let seconds = || {
            let seconds =
                value.parse::<f64>().map_err(|error| format!("{key} {value}: {error}"))?;
            Duration::try_from_secs_f64(seconds).map_err(|error| format!("{key} {value}: {error}"))
        };
        match key {
            "--address" => {
                self.address = value.parse().map_err(|error| format!("{key} {value}: {error}"))?;
            }
            "--sockets" => self.load.sockets = number()?.max(1),
            "--bytes" => self.load.bytes = number()?,
            "--seconds" => self.load.seconds = seconds()?,
            "--warmup" => self.load.warmup = seconds()?,
            _ => return Err(format!("no option is called {key:?}")),
        }
        Ok(())
    }
}

impl Load {
    fn of(command: &Command) -> Self {
        let (sockets, bytes) = match command {
            Command::Backend => (0, 0),
            Command::Scene(Scene::Echo) => (64, 64),
            Command::Scene(Scene::Bulk) => (8, 64 * 1024),
            Command::Scene(Scene::Handshake) => (32, 0),
            Command::Scene(Scene::Get) => (64, 0),
            Command::Scene(Scene::Idle) => (8_000, 64),
            Command::Scene(Scene::Heartbeat) => (5_000, 64),
        };
        Self { sockets, bytes, seconds: Duration::from_secs(5), warmup: Duration::from_secs(1) }
    }
}
