//! The command line: one file a command. Errors are one clear line on stderr; exit codes are
//! those of sysexits (64 usage or configuration, 69 cannot start).

mod cert;
mod check;
mod completions;
mod diff;
mod explain;
mod load;
mod reload;
mod run;
mod schema;
mod service_manager;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// A reverse proxy and load balancer whose first citizen is the WebSocket.
#[derive(Debug, Parser)]
#[command(
    name = "bowline",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `run` is meant: `bowline` serves ./config.yaml."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (also without a command)
    Run(RunArgs),
    /// Read a configuration and name every mistake in it; exit 0 or 64
    Check {
        /// The configuration
        #[arg(default_value = "config.yaml")]
        file: PathBuf,
    },
    /// Make certificates to try TLS with: an authority, and what it issues
    Cert(CertArgs),
    /// Tell what NEW would change where OLD is in force; exit 0 when nothing, else 1
    Diff {
        /// The configuration in force
        old: PathBuf,
        /// The other one
        new: PathBuf,
    },
    /// Have a running Bowline read its configuration again
    Reload(ReloadArgs),
    /// Tell which listener, route and upstream a request would meet, without sending it
    Explain(ExplainArgs),
    /// Print the JSON Schema of the configuration
    Schema {
        /// Print the configuration reference as Markdown instead
        #[arg(long)]
        markdown: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The configuration [default: config.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here, without any file; needs --upstream
    #[arg(short, long, value_name = "ADDR", conflicts_with = "config", requires = "upstream")]
    listen: Option<String>,
    /// Send everything here; several balance
    #[arg(short, long, value_name = "URL", num_args = 1.., conflicts_with = "config", requires = "listen")]
    upstream: Vec<String>,
}

#[derive(Args, Debug)]
struct ReloadArgs {
    /// The configuration that it runs with, which says where its admin listener is [default: config.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener
    #[arg(short, long, value_name = "ADDR", conflicts_with = "config")]
    admin: Option<std::net::SocketAddr>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
struct CertArgs {
    /// The hosts and addresses that the certificate is for
    #[arg(value_name = "NAME", default_values = crate::accept::tls::issue::LOCAL_NAMES)]
    names: Vec<String>,
    /// The folder that the files go to; made if need be
    #[arg(short, long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// Make one for a client of this name too, as client.pem and client.key
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
}

#[derive(Args, Debug)]
struct ExplainArgs {
    /// The configuration
    file: PathBuf,
    /// The method, such as GET
    method: String,
    /// The URL; ws:// and wss:// mean a WebSocket handshake
    url: String,
    /// A header, such as 'Accept: text/html'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address [default: one that no list names]
    #[arg(long, value_name = "IP")]
    from: Option<std::net::IpAddr>,
}

/// Why a command failed: the line on stderr and the exit code.
#[derive(Debug)]
struct CommandError {
    message: String,
    code: u8,
}

impl CommandError {
    /// Wrong usage or a wrong configuration (EX_USAGE).
    fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 64 }
    }

    /// Not an error, but not nothing either, as diff(1) has it.
    fn differs() -> Self {
        Self { message: String::new(), code: 1 }
    }

    /// Something outside is in the way: a port, a permission (EX_UNAVAILABLE).
    fn unavailable(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 69 }
    }
}

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            // A closed pipe behind `--help | head` is no error of ours.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run::run(&args),
        Command::Cert(args) => cert::cert(&args),
        Command::Check { file } => check::check(&file),
        Command::Diff { old, new } => diff::diff(&old, &new),
        Command::Reload(args) => reload::reload(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Schema { markdown } => schema::print(markdown),
        Command::Completions { shell } => completions::print(shell, &mut Cli::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError { message, code }) => {
            // `eprintln!` panics when nobody reads stderr any more.
            if !message.is_empty() {
                writeln!(std::io::stderr(), "{}", message.trim_end()).ok();
            }
            ExitCode::from(code)
        }
    }
}

/// Writes to stdout; a reader that has left is no error.
fn print(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::unavailable(format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}
