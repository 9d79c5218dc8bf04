//! `ssh-dial`: the connection under ssh, as its `ProxyCommand`. ssh would resolve and dial by itself.

use std::ffi::OsString;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;

use crate::environment::Environment;
use crate::network::{Network, Unreached, carry};

/// Its name among the tools.
pub(crate) const NAME: &str = "ssh-dial";

/// Runs `ssh-dial HOST PORT` with the rules of `GIT_NETWORK`.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let [host, port] = args.as_slice() else {
        eprintln!("usage: ssh-dial HOST PORT");
        return ExitCode::from(2);
    };
    match dial(host, port) {
        Ok(stream) => both_ways(stream),
        // ssh's own prefix: git-init looks for it
        Err(why) => {
            eprintln!("ssh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn dial(host: &str, port: &str) -> Result<TcpStream, String> {
    let port = port.parse().map_err(|_| format!("{port} is no port"))?;
    let network = Network::of(&Environment::of_process(), "GIT_NETWORK").map_err(|e| e.to_string())?;
    network.dial(host, port).map_err(Unreached::into_reason)
}

/// Between ssh and the server, until the server is done.
fn both_ways(stream: TcpStream) -> ExitCode {
    if let Ok(up) = stream.try_clone() {
        thread::spawn(move || {
            carry(io::stdin().lock(), &up).ok();
            up.shutdown(Shutdown::Write).ok();
        });
    }
    match carry(&stream, io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
