//! The rules of the driver, with domains whose looks are written down.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::Notify;

use super::*;
use crate::{
    collectors::{
        Collector, CollectorRun,
        pattern::Patterns,
        tests::{End, Machine, Told},
    },
    schema::events::system_host_payload::SystemHostOperation,
};

/// What a look comes to.
#[derive(Clone)]
enum Look {
    /// These things; those with a `!` are not well, and those with a `?` are news at first sight.
    Sees(&'static [&'static str]),
    Nothing,
    Fails,
    Hangs,
    Absent,
}

use Look::{Absent, Fails, Hangs, Nothing, Sees};

/// What looks at a domain come to, from now on.
#[derive(Clone)]
struct Script {
    look: Arc<Mutex<Look>>,
    woken: Arc<Notify>,
    interval: Option<Duration>,
}

impl Script {
    fn new(look: Look) -> Script {
        Script { look: Arc::new(Mutex::new(look)), woken: Arc::default(), interval: None }
    }

    fn turns_to(&self, look: Look) {
        *self.look.lock().unwrap() = look;
    }

    fn wakes_to(&self, look: Look) {
        self.turns_to(look);
        self.woken.notify_one();
    }
}

struct Toy<const RIGHT: bool> {
    script: Script,
    exclude: Patterns,
}

impl<const RIGHT: bool> Domain for Toy<RIGHT> {
    const NAME: &'static str = if RIGHT { "right" } else { "left" };
    type Known = BTreeSet<String>;
    type Choice = Patterns;

    fn choice(&self) -> Patterns {
        self.exclude.clone()
    }

    fn split(known: Self::Known, exclude: &Patterns) -> (Self::Known, Option<Self::Known>) {
        let (left_out, taken) = known.into_iter().partition(|thing| exclude.matches(thing));
        (taken, Some(left_out))
    }

    async fn look(&mut self, _: &Context, _: Option<&Self::Known>) -> Result<Option<Self::Known>, CollectError> {
        let look = self.script.look.lock().unwrap().clone();
        match look {
            Sees(things) => {
                let things = things.iter().filter(|thing| !self.exclude.matches(thing));
                Ok(Some(things.map(|&thing| thing.to_owned()).collect()))
            }
            Nothing => Ok(None),
            Fails => Err(CollectError::failed("look at the toys", "the box is locked")),
            Hangs => pending().await,
            Absent => Err(CollectError::Absent("there is no box".to_owned())),
        }
    }

    fn first_sight(&self, known: &Self::Known) -> Vec<Finding> {
        known.iter().filter(|thing| thing.contains(['!', '?'])).map(|thing| come(thing)).collect()
    }

    fn diff(&self, before: &Self::Known, after: &Self::Known) -> Vec<Finding> {
        let gone = before.difference(after).map(|thing| {
            Finding::host(Level::Info, SystemHostOperation::RebootNotRequired, thing, String::new(), "toys", "gone")
        });
        gone.chain(after.difference(before).map(|thing| come(thing))).collect()
    }

    fn inventory(&self, known: &Self::Known) -> String {
        format!("{} things", known.len())
    }

    fn interval(&self) -> Option<Duration> {
        self.script.interval
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.script.woken.notified().await;
        Ok(())
    }
}

fn come(thing: &str) -> Finding {
    let level = if thing.contains('!') { Level::Warn } else { Level::Info };
    Finding::host(level, SystemHostOperation::RebootRequired, thing, String::new(), "toys", "come")
}

/// A collector of two domains.
struct Toys {
    left: Script,
    right: Script,
    exclude: &'static str,
}

impl Collector for Toys {
    fn run(self: Box<Self>, context: Context) -> CollectorRun {
        let exclude = Patterns::new(vec![self.exclude.to_owned()]);
        let left = Toy::<false> { script: self.left, exclude: exclude.clone() };
        let right = Toy::<true> { script: self.right, exclude };
        Box::pin(Driver::new(context, "toys").with(left).with(right).run())
    }
}

/// What two domains with these looks tell while a script plays.
async fn plays(machine: &Machine, end: End, looks: [&Script; 2], script: impl AsyncFnOnce(&mut Told)) -> Vec<String> {
    plays_without("", machine, end, looks, script).await
}

async fn plays_without(
    exclude: &'static str,
    machine: &Machine,
    end: End,
    [left, right]: [&Script; 2],
    script: impl AsyncFnOnce(&mut Told),
) -> Vec<String> {
    let toys = Toys { left: left.clone(), right: right.clone(), exclude };
    let told = machine.run_this("toys", Box::new(toys), end, script).await;
    let short = |line: &String| {
        let line = line.trim_start_matches("info ").trim_start_matches("warn ").trim_start_matches("system.host.");
        line.replace("reboot_required", "come:").replace("reboot_not_required", "gone:")
    };
    told.iter().map(short).collect()
}

/// What they tell of themselves.
async fn tells(machine: &Machine, left: Look, right: Look, count: usize) -> Vec<String> {
    plays(machine, End::Clean, [&Script::new(left), &Script::new(right)], async |told| told.reaches(count).await).await
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn what_is_wrong_and_one_inventory_are_told_at_first_sight_and_later_only_what_has_changed() {
    let machine = Machine::new();
    let first = tells(&machine, Sees(&["a", "b!"]), Sees(&["c!"]), 3).await;
    assert_eq!(first, ["come: b!", "come: c!", "inventory toys"]);
    assert_eq!(tells(&machine, Sees(&["a", "b!"]), Sees(&["c!"]), 0).await, NOTHING);
    let while_down = tells(&machine, Sees(&["a", "d"]), Sees(&["c!"]), 2).await;
    assert_eq!(while_down, ["gone: b!", "come: d"]);
    assert_eq!(tells(&machine, Sees(&["a", "d"]), Nothing, 0).await, NOTHING, "what is not seen now is not gone");
}

#[tokio::test]
async fn where_events_were_lost_what_is_wrong_is_told_once_more_beside_what_has_changed() {
    let machine = Machine::new();
    tells(&machine, Sees(&["a!", "b", "e?"]), Sees(&["c!"]), 4).await;
    machine.asserts.set(true);
    let mut told = tells(&machine, Sees(&["a!", "d!", "e?"]), Sees(&["c!"]), 4).await;
    told.sort();
    assert_eq!(told, ["come: a!", "come: c!", "come: d!", "gone: b"], "what was news is none any more");
    machine.asserts.set(false);
    assert_eq!(tells(&machine, Sees(&["a!", "d!", "e?"]), Sees(&["c!"]), 0).await, NOTHING);
}

#[tokio::test]
async fn a_memory_that_is_not_understood_makes_nothing_come_or_go() {
    let machine = Machine::new();
    tells(&machine, Sees(&["a"]), Sees(&["b"]), 1).await;
    for memory in ["[1]", "{", r#"{"left": {"a": 1}, "right": null}"#] {
        std::fs::write(machine.state.path().join("memory/toys.json"), memory).unwrap();
        assert_eq!(tells(&machine, Sees(&["a"]), Sees(&["b"]), 1).await, ["inventory toys"], "{memory}");
    }
    let memory = std::fs::read_to_string(machine.state.path().join("memory/toys.json")).unwrap();
    std::fs::write(machine.state.path().join("memory/toys.json"), memory.replace("left", "middle")).unwrap();
    let one = tells(&machine, Sees(&["a"]), Sees(&["b", "c"]), 2).await;
    assert_eq!(one, ["come: c", "inventory toys"], "of one domain what is remembered stands");
}

#[tokio::test]
async fn a_run_that_is_killed_before_all_is_told_is_followed_by_one_that_tells_it_again() {
    let machine = Machine::new();
    for _ in 0..2 {
        let looks = [&Script::new(Sees(&["a!"])), &Script::new(Hangs)];
        let killed = plays(&machine, End::Killed, looks, async |told| told.reaches(1).await).await;
        assert_eq!(killed, ["come: a!"]);
    }
    assert_eq!(tells(&machine, Sees(&["a!"]), Sees(&[]), 2).await, ["come: a!", "inventory toys"]);
    assert_eq!(tells(&machine, Sees(&["a!"]), Sees(&[]), 0).await, NOTHING);
}

#[tokio::test]
async fn nothing_is_known_that_the_log_did_not_take() {
    let machine = Machine::new();
    tells(&machine, Sees(&["a"]), Sees(&[]), 1).await;
    let log = machine.log().await;
    let (context, keeper) = machine.context("toys", &log).await;
    let closing = log.clone();
    tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
    let toys = Toys { left: Script::new(Sees(&["a", "b"])), right: Script::new(Sees(&[])), exclude: "" };
    assert!(matches!(Box::new(toys).run(context).await, Err(CollectError::Emit(_))));
    let ended = tokio_util::sync::CancellationToken::new();
    ended.cancel();
    keeper.run(ended).await;
    assert_eq!(tells(&machine, Sees(&["a", "b"]), Sees(&[]), 1).await, ["come: b"]);
}

#[tokio::test]
async fn a_look_that_fails_is_one_blind_spot_and_silences_nobody() {
    let machine = Machine::new();
    let left = Script { interval: Some(Duration::from_millis(50)), ..Script::new(Fails) };
    let right = Script::new(Sees(&["a"]));
    let told = plays(&machine, End::Clean, [&left, &right], async |told| {
        told.reaches(2).await;
        right.wakes_to(Sees(&["a", "b"]));
        told.reaches(3).await;
        left.turns_to(Sees(&["c!"]));
        told.reaches(6).await;
    })
    .await;
    let expected = ["blind_spot left", "inventory toys", "come: b", "sees_again left", "come: c!", "inventory toys"];
    assert_eq!(told, expected);
    assert_eq!(tells(&machine, Fails, Sees(&["b"]), 2).await, ["blind_spot left", "gone: a"]);
    assert_eq!(tells(&machine, Sees(&["c!", "d"]), Sees(&["b"]), 2).await, ["sees_again left", "come: d"]);
}

#[tokio::test]
async fn one_that_hangs_or_is_absent_delays_no_other() {
    let machine = Machine::new();
    let (left, right) = (Script::new(Sees(&[])), Script::new(Sees(&["a"])));
    let told = plays(&machine, End::Clean, [&left, &right], async |told| {
        told.reaches(1).await;
        left.wakes_to(Hangs);
        right.wakes_to(Sees(&["b"]));
        told.reaches(3).await;
    })
    .await;
    assert_eq!(told, ["inventory toys", "gone: a", "come: b"]);
    assert_eq!(tells(&machine, Absent, Sees(&["c"]), 2).await, ["gone: b", "come: c"]);
    let (context, _) = machine.context("toys", &machine.log().await).await;
    let toys = Toys { left: Script::new(Absent), right: Script::new(Absent), exclude: "" };
    let ended = Box::new(toys).run(context).await;
    assert!(matches!(ended, Err(CollectError::Absent(why)) if why == "there is no box; there is no box"));
}

#[tokio::test]
async fn of_what_other_settings_left_out_only_faults_are_told() {
    let machine = Machine::new();
    let looks = |left: &'static [&str]| [Script::new(Sees(left)), Script::new(Nothing)];
    let [left, right] = looks(&["a", "x", "x!"]);
    let run = async |exclude, [left, right]: [Script; 2], count| {
        plays_without(exclude, &machine, End::Clean, [&left, &right], async |told| told.reaches(count).await).await
    };
    assert_eq!(run("x*", [left, right], 1).await, ["inventory toys"]);
    let wider = run("", looks(&["a", "b", "x", "x!"]), 2).await;
    assert_eq!(wider, ["come: b", "come: x!"], "x was there all along");
    assert_eq!(run("a", looks(&["b", "x", "x!"]), 0).await, NOTHING, "a has been left out, not gone");
    assert_eq!(run("a", looks(&["b", "x!"]), 1).await, ["gone: x"]);
}

#[tokio::test]
async fn what_has_a_turn_is_looked_at_in_it_and_what_has_none_when_it_wakes() {
    let machine = Machine::new();
    let left = Script { interval: Some(Duration::from_millis(50)), ..Script::new(Sees(&[])) };
    let right = Script::new(Sees(&[]));
    let told = plays(&machine, End::Clean, [&left, &right], async |told| {
        told.reaches(1).await;
        left.turns_to(Sees(&["a"]));
        right.turns_to(Sees(&["b"]));
        told.reaches(2).await;
        right.woken.notify_one();
        told.reaches(3).await;
    })
    .await;
    assert_eq!(told, ["inventory toys", "come: a", "come: b"]);
}
