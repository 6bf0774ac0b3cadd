//! Calls a URL at an interval for as long as the agent is well. Who waits for the call notices when this machine is gone, which no
//! message from it can tell.
//!
//! Given settings, and whether all is well; gives a `GET` and nothing of this machine. Always holds: there is no call while the agent
//! takes no events; a call that fails is told once, and the next one comes at its time.

use std::{ops::RangeInclusive, time::Duration};

use hyper::Method;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    body::Whole, client::Client, connector::Connector, credentials::Trust, proxy::Proxy, settings, target::Target,
};
use crate::{
    health::{Conditions, Fault},
    settings::Table,
    telemetry::message,
};

/// Oftener says nothing more; more rarely, and a day passes before anybody misses it.
const EVERY_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where to, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatSettings {
    target: Target,
    every: Duration,
    is_insecure: bool,
    proxy: Option<Proxy>,
}

impl BeatSettings {
    /// Reads the section `beat` of the root; none where no URL is set.
    pub fn read(root: &mut Table) -> Option<BeatSettings> {
        let mut table = root.table("beat", "a URL that is called while the agent is well, for whoever waits for it");
        let expects = "a URL, such as https://hc-ping.com/UUID";
        let about = "what is called with GET; shown without its path, which may be a password";
        let target = table.displayed("url", expects, about, Target::parse);
        let every = table.duration("every", Duration::from_secs(300), EVERY_BOUNDS, "how often");
        let is_insecure = table.boolean("insecure", false, "whether plain http may leave private networks");
        let proxy = settings::proxy(&mut table, target.as_ref(), is_insecure);
        target.map(|target| BeatSettings { target, every, is_insecure, proxy })
    }
}

/// Calls as the settings say that are in force, while `trouble` says nothing, until `stop`.
pub async fn beat(
    mut settings: watch::Receiver<Option<BeatSettings>>,
    trouble: impl Fn() -> Option<String>,
    conditions: Conditions,
    stop: CancellationToken,
) {
    loop {
        let now = settings.borrow_and_update().clone();
        let calling = async {
            match now {
                Some(now) => call_on(now, &trouble, &conditions).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = settings.changed() => {
                conditions.clear(message::BEAT_FAILS);
                if changed.is_err() {
                    // Nobody is left who could change them.
                    return;
                }
            }
            () = calling => {}
        }
    }
}

async fn call_on(settings: BeatSettings, trouble: impl Fn() -> Option<String>, conditions: &Conditions) {
    let BeatSettings { target, every, is_insecure, proxy } = settings;
    let client = Client::new(Connector::new(target, proxy, is_insecure));
    let mut times = tokio::time::interval(every);
    times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        if trouble().is_some() {
            continue;
        }
        let failed = call(&client, every.min(TIMEOUT)).await.err();
        let fault =
            failed.map(|why| Fault::warning(format!("who waits for this machine's call is not reached: {why}")));
        conditions.put(message::BEAT_FAILS, fault);
    }
}

/// # Errors
/// Why it is not known to have arrived.
async fn call(client: &Client, patience: Duration) -> Result<(), String> {
    let target = client.target();
    let request = client
        .request(Method::GET)
        .body(Whole::default())
        .map_err(|error| format!("put a request together: {error}"))?;
    match client.ask(request, &Trust::default(), patience).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("{target} answered {}", answer.status)),
        Err(why) => Err(why.why),
    }
}
