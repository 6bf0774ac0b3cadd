//! The machine's own agent, whose socket the standard configuration names: a command finds it without being told where, and
//! says what is missing when it does not. In a mount namespace that has a `/etc/rodent` and a `/run` of its own.

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::process::Command;

    /// `HERE` has what becomes `/etc/rodent`.
    const MACHINE: &str = r#"
        mount -t overlay overlay -o lowerdir="$HERE/etc":/etc /etc
        mount --bind "$HERE/etc/rodent" /etc/rodent
        mount -t tmpfs tmpfs /run
        mkdir /run/rodent
    "#;

    /// Exit code, and what was printed on both outputs.
    fn on_a_machine(script: &str) -> (Option<i32>, String) {
        assert!(nix::unistd::geteuid().is_root(), "only root has mounts of its own: run `make test` as root");
        let here = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(here.path().join("etc/rodent")).expect("a directory");
        let script = format!("exec 2>&1; set -e\n{MACHINE}\n{script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).env("HERE", here.path());
        command.env("RODENT", env!("CARGO_BIN_EXE_rodent")).env_remove("RODENT_SOCKET").env_remove("NOTIFY_SOCKET");
        let output = command.output().expect("unshare is there");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    }

    #[test]
    fn a_configured_socket_that_is_missing_is_named_with_what_to_do() {
        for words in ["status", "emit storage.pool.created pool_name=a", "events", "reload", "dead-letters list"] {
            let script = format!("echo 'socket: /run/own/agent.sock' > /etc/rodent/rodent.yml; \"$RODENT\" {words}");
            let (code, said) = on_a_machine(&script);
            assert_eq!(code, Some(69), "{words}: {said}");
            let begins = "rodent: no agent answers on /run/own/agent.sock: start it (`systemctl start rodent`; ";
            assert!(said.starts_with(begins) && said.contains("`rodent doctor`"), "{words}: {said}");
        }
    }

    #[test]
    fn an_agent_elsewhere_is_found_also_when_its_configuration_is_wrong_and_names_another_place() {
        let (code, said) = on_a_machine(
            r#"
            off='collectors: {access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}'
            printf 'socket: %s/own.sock\nstate_directory: %s/state\n%s\n' "$HERE" "$HERE" "$off" > /etc/rodent/rodent.yml
            "$RODENT" agent 2> "$HERE/log" &
            trap "kill $!; wait $!" EXIT
            looks=0
            until "$RODENT" status > /dev/null 2>&1; do
                looks=$((looks + 1)); [ $looks -lt 600 ] || { cat "$HERE/log"; exit 1; }; sleep 0.1
            done
            printf 'evnets: {}\nsocket: /run/moved.sock\n' > /etc/rodent/rodent.yml
            set +e
            "$RODENT" reload; echo "ended with $?"
            printf 'socket: /run/moved.sock\n' > /etc/rodent/rodent.yml
            "$RODENT" status -o json > /dev/null; echo "ended with $?"
            trap - EXIT
            kill $!; wait $!; ls -A /run/rodent; echo "nothing is left"
            "#,
        );
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(lines[0], "/etc/rodent/rodent.yml:1:1: evnets: unknown key; did you mean `events`?");
        assert_eq!(
            lines[1..],
            [
                "rodent: the configuration is refused; what was in force goes on",
                "ended with 78",
                "ended with 0",
                "nothing is left"
            ]
        );
    }

    #[test]
    fn an_agent_of_root_does_nothing_where_another_user_decides_what_lies_there() {
        let (code, said) = on_a_machine(
            r#"
            mkdir "$HERE/var"; chown 65534 "$HERE/var"
            printf 'socket: %s/own.sock\nstate_directory: %s/var/state\n' "$HERE" "$HERE" > /etc/rodent/rodent.yml
            set +e
            timeout 20 "$RODENT" agent; code=$?
            ls -A "$HERE/var"; exit $code
            "#,
        );
        assert_ne!(code, Some(124), "it does not run: {said}");
        assert!(said.contains("/var belongs to user 65534, and root does nothing"), "{said}");
        assert_eq!(said.lines().last().map(|line| line == "state"), Some(false), "nothing is made there: {said}");
    }
}
