//! `rodent try`: a throw-away controller and an agent on this machine, to see what it is like.
//!
//! Both run in this process, over the loopback and a real token; everything lies in a temporary directory that is gone
//! afterwards. What is printed is what the controller has stored.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::{
    agent::{
        self,
        config::{Config, ControllerSettings, Patience, Tls, TokenSource},
    },
    bench::Scratch,
    controller::{
        server,
        store::{MemoryStore, Store, Tail, Tailed},
        token,
    },
    settings::Secret,
    telemetry::{ErrorChain, logging},
    terminal::{EventColumns, EventTable, Screen},
};

/// Events that the throw-away controller keeps; older ones go.
const EVENTS_KEPT_MAX: usize = 100_000;

/// How long an event waits for others before it is sent: short, for somebody is looking.
const BATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Rows printed together at the most, so that a burst does not wait for its end.
const ROWS_MAX: usize = 200;

/// See it work: an agent and a throw-away controller on this machine
///
/// Prints the events of this machine as the controller has stored them. Ctrl-C ends it and cleans up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rodent try
  rodent try | head -20")]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    let _logging = logging::start(tracing::Level::ERROR);
    let scratch = Scratch::below(&std::env::temp_dir())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(show(scratch.path()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

async fn show(directory: &Path) -> Result<(), Failure> {
    let (server, store, token) = throw_away_controller().await?;
    let tail = store.tail();
    let address = server.address();
    let settings = ControllerSettings {
        address: address.to_string(),
        token: TokenSource::Inline(token),
        tls: Tls::Off,
        patience: Patience::default(),
        may: Vec::new(),
    };
    let socket = directory.join("rodent.sock");
    let mut loaded = Config::default_for(directory.join("state"), socket.clone(), Some(settings));
    loaded.config.events.batch_timeout = BATCH_TIMEOUT;

    let (stop_agent, stop_controller) = (CancellationToken::new(), CancellationToken::new());
    let mut screen = Screen::stdout();
    introduce(&mut screen, &address, &socket)?;
    let agent = async {
        let ended = agent::run(loaded, None, stop_agent.clone()).await;
        // The controller goes last, so that the agent's last words arrive.
        stop_controller.cancel();
        ended.map_err(|error| Failure::other(format!("{error:#}")))
    };
    let controller = async { server.run(stop_controller.clone().cancelled_owned()).await.map_err(because) };
    let printing = async {
        let printed = print(tail, &mut screen, &stop_controller).await;
        stop_agent.cancel();
        printed
    };
    let interrupted = async {
        tokio::select! {
            signal = agent::stop_signal() => signal?,
            () = stop_controller.cancelled() => {}
        }
        stop_agent.cancel();
        Ok::<_, Failure>(())
    };
    let (agent, controller, printed, interrupted) = tokio::join!(agent, controller, printing, interrupted);
    agent?;
    controller?;
    interrupted?;
    let seen = printed?;
    store.close().await;
    let said = screen
        .line("")
        .and_then(|()| screen.line(&format!("{seen} events reached the controller; everything is cleaned up.")));
    said.or_else(quiet)?;
    Ok(())
}

/// A controller on a free port of the loopback, its store, and a token for this machine.
async fn throw_away_controller() -> Result<(server::Server, Arc<MemoryStore>, Secret), Failure> {
    let secret = token::SigningSecret::random().map_err(because)?;
    let identity = token::NodeIdentity { node: node_name(), organisation: "try".to_owned(), private: true };
    let token = token::issue(&secret, &identity, None).map_err(because)?;
    let store = Arc::new(MemoryStore::bounded(EVENTS_KEPT_MAX));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = server::ServerSettings::new(listen, token::Keys::hs256(&secret), Arc::<MemoryStore>::clone(&store));
    let controller = server::Server::bind(settings).await.map_err(because)?;
    Ok((controller, store, Secret::new(token)))
}

fn node_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "this-machine".to_owned())
}

fn introduce(screen: &mut Screen, address: &SocketAddr, socket: &Path) -> Result<(), Failure> {
    let rodent = std::env::current_exe().map_or_else(|_| "rodent".to_owned(), |path| path.display().to_string());
    let socket = socket.display();
    let lines = [
        format!("A throw-away controller listens on {address}; below is what it has stored."),
        "See something happen, from another terminal:".to_owned(),
        String::new(),
        "  sudo ip link add demo0 type bridge        a network interface appears".to_owned(),
        "  sudo ip link set demo0 up                 and comes up".to_owned(),
        "  sudo systemctl restart cron               a service restarts".to_owned(),
        "  sudo useradd demo; sudo userdel demo      an account comes and goes".to_owned(),
        format!("  export RODENT_SOCKET={socket}"),
        format!("  {rodent} emit storage.pool.created pool_name=tank"),
        format!("  {rodent} status"),
        String::new(),
        "Ctrl-C ends it and cleans up.".to_owned(),
        String::new(),
    ];
    // In a pipe only events are wanted.
    if screen.is_terminal() {
        for line in lines {
            screen.line(&line)?;
        }
        screen.flush()?;
    }
    Ok(())
}

/// Prints what the controller stores until it ends; gives the number of events. A reader that goes away ends it too.
async fn print(mut tail: Tail, screen: &mut Screen, ended: &CancellationToken) -> Result<u64, Failure> {
    let mut table = EventTable::new(screen.width(), EventColumns::default());
    let mut seen = 0;
    loop {
        let first = tokio::select! {
            biased;
            tailed = tail.next() => tailed,
            () = ended.cancelled() => None,
        };
        let Some(mut tailed) = first else { return Ok(seen) };
        for _ in 0..ROWS_MAX {
            match tailed {
                Tailed::Event(event) => {
                    seen += 1;
                    // What was checked when it came in is an event.
                    if let Ok(view) = event.view() {
                        table.row(&view, "");
                    }
                }
                Tailed::Missed(missed) => seen += missed,
            }
            match futures_util::FutureExt::now_or_never(tail.next()) {
                Some(Some(next)) => tailed = next,
                _ => break,
            }
        }
        if let Err(error) = table.print(screen).and_then(|()| screen.flush()) {
            quiet(error)?;
            return Ok(seen);
        }
    }
}

fn because(error: impl std::error::Error + 'static) -> Failure {
    Failure::other(ErrorChain(&error).to_string())
}

/// A reader that is gone is no failure.
fn quiet(error: io::Error) -> io::Result<()> {
    crate::terminal::quiet_end(Err(error))
}
