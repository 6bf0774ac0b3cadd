//! Trees of hwmon as drivers have them, readings one after the other, and what is told.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::{collectors::finding::sentences, host::Host};

struct Machine(tempfile::TempDir, Work);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap(), Work::new())
    }

    fn write(&self, path: &str, text: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn chip(&self, number: u32, files: &[(&str, &str)]) {
        files
            .iter()
            .for_each(|(file, text)| self.write(&format!("sys/class/hwmon/hwmon{number}/{file}"), text.as_bytes()));
    }

    fn look(&mut self) -> Readings {
        chip::look(&Host::at(self.0.path()), &mut self.1).expect("a tree")
    }
}

fn server() -> Machine {
    let machine = Machine::new();
    machine.chip(
        0,
        &[("name", "coretemp"), ("temp1_input", "41000"), ("temp1_label", "Package id 0"), ("temp1_max", "80000")],
    );
    machine.chip(
        0,
        &[("temp1_crit", "100000"), ("temp2_input", "40000"), ("temp2_label", "Core 0"), ("temp2_crit", "100000")],
    );
    machine.chip(
        1,
        &[("name", "nct6775"), ("fan1_input", "1200"), ("fan1_min", "600"), ("fan1_alarm", "0"), ("fan2_input", "0")],
    );
    machine.chip(1, &[("temp7_input", "-128000"), ("temp7_max", "0"), ("fan2_alarm", "1"), ("in0_input", "5")]);
    let drive = [("name", "drivetemp"), ("temp1_input", "31000"), ("temp1_max", "60000"), ("temp1_crit", "65000")];
    machine.chip(2, &drive);
    machine.write("sys/class/hwmon/hwmon2/device/block/sda/x", b"");
    machine.write("sys/block/sda/queue/rotational", b"1\n");
    machine.write("sys/block/sda/stat", b"1 2 3\n");
    machine
}

#[test]
fn sensors_are_read_with_their_limits_and_labels() {
    let readings = server().look();
    let read = |it: &Temperature| (it.now, it.warn, it.critical);
    let temperatures: Vec<_> = readings.temperatures.iter().map(|(name, it)| (name.as_str(), read(it))).collect();
    let expected = [
        ("coretemp Core 0", (Some(40_000), None, Some(100_000))),
        ("coretemp Package id 0", (Some(41_000), Some(80_000), Some(100_000))),
        ("disk /dev/sda", (None, Some(60_000), Some(65_000))),
        ("nct6775 temp7", (None, None, None)),
    ];
    assert_eq!(temperatures, expected, "and a sensor that is not connected is none");
    assert_eq!(readings.fans.keys().collect::<Vec<_>>(), ["nct6775 fan1", "nct6775 fan2"]);
    assert_eq!(Machine::new().look(), Readings::default());
}

#[test]
fn a_disk_that_turns_is_asked_only_when_it_has_worked() {
    let mut machine = server();
    let disk = |machine: &mut Machine| machine.look().temperatures["disk /dev/sda"].now;
    assert_eq!(disk(&mut machine), None, "it may sleep");
    assert_eq!(disk(&mut machine), None);
    machine.write("sys/block/sda/stat", b"2 2 3\n");
    assert_eq!(disk(&mut machine), Some(31_000));
    assert_eq!(disk(&mut machine), None, "it has done nothing since");
    machine.write("sys/block/sda/queue/rotational", b"0\n");
    assert_eq!(disk(&mut machine), Some(31_000), "one that does not turn is asked at any time");
}

#[test]
fn what_gets_hot_and_stands_still_is_told_once_and_when_it_is_over() {
    let mut machine = server();
    let mut known = None;
    let mut told = Vec::new();
    let mut step = |what: &str, files: &[(&str, &str)]| {
        files.iter().for_each(|(file, text)| machine.write(&format!("sys/class/hwmon/{file}"), text.as_bytes()));
        let readings = machine.look();
        let after = follow(&readings, known.as_ref());
        let findings = diff(&known.clone().unwrap_or_default(), &after, &readings);
        told.push(format!("{what}: {}", sentences(&findings).join("; ")));
        known = Some(after);
    };
    step("well", &[]);
    step("warm", &[("hwmon0/temp1_input", "80000")]);
    step("a little less", &[("hwmon0/temp1_input", "77500")]);
    step("hot", &[("hwmon0/temp1_input", "100500")]);
    step("warm again", &[("hwmon0/temp1_input", "96000")]);
    step("well again", &[("hwmon0/temp1_input", "76900")]);
    step("a fan stands", &[("hwmon1/fan1_input", "0")]);
    step("still", &[]);
    step("and no longer", &[("hwmon1/fan1_input", "900")]);
    step("below what the board wants", &[("hwmon1/fan1_input", "500"), ("hwmon1/fan1_alarm", "1")]);
    step("still", &[]);
    step("hot, and the driver goes", &[("hwmon0/temp1_input", "100500")]);
    fs::remove_dir_all(machine.0.path().join("sys/class/hwmon/hwmon0")).unwrap();
    let readings = machine.look();
    let after = follow(&readings, known.as_ref());
    told.extend(sentences(&diff(&known.unwrap(), &after, &readings)));
    let expected = [
        "well: ",
        "warm: Temperature of coretemp Package id 0 is near its limit: 80 °C, warning from 80",
        "a little less: ",
        "hot: Temperature of coretemp Package id 0 is over its limit: 100.5 °C, limit 100",
        "warm again: Temperature of coretemp Package id 0 is near its limit: 96 °C, warning from 80",
        "well again: Temperature of coretemp Package id 0 is no longer near its limit: 76.9 °C, warning from 80",
        "a fan stands: ",
        "still: Fan nct6775 fan1 has stopped or is too slow: 0 turns a minute, at least 600 are wanted",
        "and no longer: Fan nct6775 fan1 turns again: 900 turns a minute",
        "below what the board wants: ",
        "still: Fan nct6775 fan1 has stopped or is too slow: 500 turns a minute, at least 600 are wanted",
        "hot, and the driver goes: Temperature of coretemp Package id 0 is over its limit: 100.5 °C, limit 100",
        "Temperature of coretemp Package id 0 is no longer near its limit, warning from 100",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_fan_that_gives_no_answer_is_as_it_was() {
    let mut machine = server();
    let (mut known, mut told) = (None, Vec::new());
    for speed in ["1200", "", "0", "0", "", "0", "0", "", "900"] {
        machine.write("sys/class/hwmon/hwmon1/fan1_input", speed.as_bytes());
        let readings = machine.look();
        let after = follow(&readings, known.as_ref());
        told.extend(sentences(&diff(&known.unwrap_or_default(), &after, &readings)));
        known = Some(after);
    }
    let expected = [
        "Fan nct6775 fan1 has stopped or is too slow: 0 turns a minute, at least 600 are wanted",
        "Fan nct6775 fan1 turns again: 900 turns a minute",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_was_hot_is_not_told_again_after_a_start_and_a_socket_without_a_fan_never_is() {
    let mut machine = server();
    machine.write("sys/class/hwmon/hwmon0/temp1_input", b"90000");
    let known = follow(&machine.look(), None);
    let remembered: Known = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
    let readings = machine.look();
    let after = follow(&readings, Some(&follow(&readings, Some(&remembered))));
    assert_eq!(diff(&remembered, &after, &readings), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_file_makes_it_panic_and_no_reading_differs_from_itself(texts in proptest::collection::vec("(-?[0-9]{0,22}|.{0,3})", 8)) {
        let mut machine = Machine::new();
        let names = ["temp1_input", "temp1_max", "temp1_crit", "fan1_input", "fan1_min", "fan1_alarm", "temp2_input", "name"];
        for (name, text) in names.iter().zip(&texts) {
            machine.chip(0, &[(name, text)]);
        }
        let readings = machine.look();
        let first = follow(&readings, None);
        let known = follow(&readings, Some(&first));
        prop_assert_eq!(diff(&known, &follow(&readings, Some(&known)), &readings), vec![]);
    }
}

#[test]
fn sensors_beyond_the_bound_are_counted() {
    let mut machine = Machine::new();
    machine.chip(0, &[("name", "many")]);
    (1..=3000).for_each(|number| machine.chip(0, &[(&format!("temp{number}_input"), "1000")]));
    let readings = machine.look();
    assert_eq!((readings.temperatures.len(), readings.beyond), (SENSORS_MAX, 3000 - SENSORS_MAX));
}
