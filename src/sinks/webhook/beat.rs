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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;
    use crate::{health::Registry, lock::lock};

    /// How the agent is, what who waits says, and how often they were called.
    #[derive(Default)]
    struct Course {
        trouble: Option<String>,
        says: &'static str,
        calls: u32,
    }

    /// Who waits for the calls; the thread ends with the test.
    fn waits(course: &Arc<Mutex<Course>>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/ping", listener.local_addr().expect("bound"));
        let course = Arc::clone(course);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines().map_while(Result::ok);
                lines.find(String::is_empty).expect("a head");
                let mut course = lock(&course);
                course.calls += 1;
                let answer = format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", course.says);
                (&stream).write_all(answer.as_bytes()).expect("it listens");
            }
        });
        Target::parse(&url).expect("a URL")
    }

    async fn until(is: impl Fn() -> bool) {
        let waiting = async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("in time");
    }

    #[tokio::test]
    async fn a_call_is_made_at_each_interval_while_all_is_well_and_one_that_fails_is_told_until_it_is_over() {
        let course = Course { trouble: Some("it starts".to_owned()), says: "200 OK", ..Course::default() };
        let course = Arc::new(Mutex::new(course));
        // A call may take as long.
        let every = Duration::from_millis(300);
        let settings = BeatSettings { target: waits(&course), every, is_insecure: false, proxy: None };
        let (set, settings) = watch::channel(Some(settings));
        let (registry, stop) = (Registry::new(|| 0), CancellationToken::new());
        let trouble = || lock(&course).trouble.clone();
        let told = || registry.standing().iter().map(|condition| condition.text.clone()).collect::<Vec<_>>();
        let story = async {
            tokio::time::sleep(every * 2).await;
            assert_eq!(lock(&course).calls, 0, "the agent takes nothing yet");
            lock(&course).trouble = None;
            until(|| lock(&course).calls >= 3).await;
            until(|| told().is_empty()).await;
            lock(&course).says = "404 Not Found";
            until(|| told().iter().any(|text| text.contains("404 Not Found") && !text.contains("ping"))).await;
            lock(&course).says = "200 OK";
            until(|| told().is_empty()).await;
            lock(&course).says = "500 Internal Server Error";
            until(|| !told().is_empty()).await;
            set.send(None).expect("it listens");
            until(|| told().is_empty()).await;
            stop.cancel();
        };
        tokio::join!(beat(settings, trouble, registry.part("beat"), stop.clone()), story);
    }
}
