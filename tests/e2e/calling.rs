//! README's "Call for help", as somebody does it who reads it: five lines from the installation to a message.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use crate::{appliance::Appliance, container::workshop, process::Process};

const README: &str = include_str!("../../README.md");
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that wait to be read; more than the test makes.
const MESSAGES_MAX: usize = 100;

/// Prints the topic and the title of each message, as a telephone would show it.
const TELEPHONE: &str = "
import http.server
class Telephone(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        print(self.path, self.headers['title'], flush=True)
        self.send_response(200)
        self.send_header('content-length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(('127.0.0.1', 8088), Telephone)
print('listening', flush=True)
server.serve_forever()
";

#[test]
fn the_five_lines_of_the_readme_end_in_messages_on_a_telephone() {
    let section = README.split("\n## ").find(|section| section.starts_with("Call for help\n")).expect("the section");
    let lines: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [install, add, test, wrong, well] = lines[..] else { panic!("five lines: {lines:?}") };
    assert!(install.starts_with("sudo apt install ./target/packages/rodent_"), "{install}");
    // As the package would; tests of the packages install it.
    let machine = Appliance::install("calling", &[]);
    machine.run("systemctl start rodent");
    let mut telephone = Command::new("nsenter");
    let leader = machine.process_on_host(1).to_string();
    telephone.args(["--target", &leader, "--net", "python3", "-c", TELEPHONE]);
    let mut telephone =
        Process::start(telephone.stdin(Stdio::null()).stdout(Stdio::piped()), &workshop().join("telephone.log"));
    let output = telephone.child.stdout.take().expect("standard output is piped");
    let (sender, messages) = sync_channel(MESSAGES_MAX);
    // Ends with the telephone.
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let message = || messages.recv_timeout(PATIENCE).expect("a message");
    assert_eq!(message(), "listening");
    let run = |line: &str| {
        let line = line.replace("https://ntfy.sh/WORD", "http://127.0.0.1:8088/WORD");
        // Who runs it is root already.
        machine.run(&format!("{} 2>&1", line.replace("sudo ", "")))
    };
    run(add);
    let said = run(test);
    assert!(said.contains("200"), "{said}");
    let title = message();
    assert!(title.starts_with("/WORD ") && title.ends_with(": test"), "{title}");
    run(wrong);
    assert!(message().ends_with(": trial: pool health, error"));
    run(well);
    assert!(message().ends_with(": trial: pool health is well again"));
    assert_eq!(machine.run("stat -c '%a %G' /etc/rodent/rodent.d/sinks-phone.yml").trim(), "640 rodent");
}
