//! What is wrong with a sink: told where it stands, with what would be right, and without what may be secret.

use crate::site::Site;

#[test]
fn what_is_wrong_with_a_sink_is_told_with_its_place_and_without_its_url() {
    let site = Site::start("");
    let many = |key: &str, item: &str| {
        let items = vec![format!("'{item}'"); 33].join(", ");
        format!("sinks:\n  a: {{type: webhook, url: 'https://x/', {key}: [{items}]}}")
    };
    for (lines, fault) in [
        ("sinks:\n  a: {type: webhook}", "2:3: sinks.a.url: missing; expected a URL"),
        ("sinks:\n  a: {url: 'https://x/'}", "2:3: sinks.a.type: missing; expected "),
        ("sinks:\n  a: {type: webhok, url: 'https://x/'}", "2:13: sinks.a.type: webhok: expected "),
        ("sinks:\n  a: {type: webhook, url: 'https://u:secret@x/'}", "sinks.a.url: a user or password in a URL"),
        ("sinks:\n  a: {type: webhook, url: 'ftp://x/secret'}", "sinks.a.url: only http:// and https:// are spoken"),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', filter: ['storag.*']}", "sinks.a.filter: "),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', formt: ntfy}", "did you mean `format`?"),
        ("sinks:\n  uplink: {type: webhook, url: 'https://x/'}", "2:3: sinks.uplink: the controller's own name"),
        ("sinks:\n  A B: {type: webhook, url: 'https://x/'}", "2:3: sinks.A B: a name of a sink"),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', tell: changes, filter: ['pool_name=tank']}",
            "with `tell: changes` a filter asks for levels",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', quiet: '22:00-07:00'}",
            "is of use with `tell: changes` only",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', tell: changes, quiet: '22-7'}",
            "sinks.a.quiet: 22-7: expected two times of day",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: alertmanager}",
            "Alertmanager keeps states and no events: set `tell: changes`",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: pagerduty}",
            "sinks.a.secret_file: missing; expected a file with the integration key",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', schedule: [1m, soon]}",
            "expected at most 32 durations from 1s to 24h",
        ),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', headers: ['X-A']}", "expected `NAME: VALUE`"),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', fallback: {to: b}}", "no other sink is called `b`"),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', format: free}", "sinks.a.body: missing; expected the body"),
        (
            "sinks:\n  a:\n    type: webhook\n    url: https://x/\n    format: free\n    body: |\n      {\n      \"a\": \"{pol_name}\"\n      }",
            "7:7: sinks.a.body: {pol_name} in line 2 of it: no event has a field \"pol_name\"; did you mean \"pool_name\"?",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, body: 'Pool {pool_name}'}",
            "no JSON, as its `content_type` says: expected value, in line 1 of it",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, content_type: words, body: '1'}",
            "sinks.a.content_type: words: expected a type such as text/plain",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', tell: changes, format: free, body: '{pool_name}'}",
            "with `tell: changes` there are advice, ",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, body: '1', headers: ['X: {pol_name}']}",
            "sinks.a.headers: a list: {pol_name}: no event has a field",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, body: '1', method: GET}",
            "sinks.a.method: GET: expected POST, PUT or PATCH",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, body: '\"{secret.tokn}\"', secrets: {token: /t}}",
            "sinks.a.body: {secret.tokn}: `secrets` names no file for `tokn`; did you mean \"secret.token\"?",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: free, body: '1', secrets: {token: 'u:secret'}}",
            "sinks.a.secrets: a table: `token`: expected a name of",
        ),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', body: '1'}", "is of use with `format: free` only"),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', headers: ['Content-Type: a/b']}",
            "every request has content-type already; with `format: free` it is `content_type`",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', headers: ['Authorization: Bearer u:secret']}",
            "authorization is secret, and a secret stands in a file: use `bearer_file`, `basic_file` or",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', basic_file: 'u:secret'}",
            "sinks.a.basic_file: expected an absolute path",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', basic_file: /b, bearer_file: /c}",
            "the header that `bearer_file` sends is the same; keep one of them",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', cert_file: /c}",
            "sinks.a.cert_file: /c: needs `key_file` beside it",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', compress: zstd}",
            "sinks.a.compress: zstd: expected off or gzip",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', expect: {status: [soon]}}",
            "sinks.a.expect.status: a list: expected at most 32 numbers from 200 to 599",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', expect: {json: yes}}",
            "sinks.a.expect.json: yes: expected names",
        ),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', expect: {statsu: [200]}}", "did you mean `status`?"),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', http_proxy: 'https://u:secret@p/'}",
            "sinks.a.http_proxy: a proxy is spoken to in plain http",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'http://example.com/', http_proxy: 'http://u:secret@p:3128'}",
            "sinks.a.url: plain http by way of a proxy",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', drop: [pol_name]}",
            "sinks.a.drop: a list: no event has a field \"pol_name\"; did you mean \"pool_name\"?",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', rename: {level: kind}}",
            "sinks.a.rename: a table: `kind` is the name of another field",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: ntfy, add: {site: berlin}}",
            "sinks.a.add: a table: ntfy has no fields: it is a text",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', format: alertmanager, tell: changes, weekly: 'sun 9:00'}",
            "sinks.a.weekly: sun 9:00: is for people",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', secret_file: [/a, /b, /c]}",
            "sinks.a.secret_file: a list: at most 2 keys are valid at once",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', secret_file: ['u:secret']}",
            "sinks.a.secret_file: a list: expected paths that begin with `/`",
        ),
        (
            "sinks:\n  a: {type: webhook, url: 'https://x/', schedule: [1m, 2days]}",
            "expected at most 32 durations from 1s to 24h",
        ),
        (many("headers", "X-H: v").as_str(), "sinks.a.headers: a list: at most 32 are taken"),
        (many("drop", "pool_name").as_str(), "sinks.a.drop: a list: at most 32 are taken"),
        ("beat: {url: 'https://x/', http_proxy: 'http://u:secret@p/x'}", "beat.http_proxy: a proxy has no path"),
        ("sinks: [a]", "1:8: sinks: a list: expected keys with values below it"),
    ] {
        site.configure(lines);
        let told = site.rodent(&["config", "check", &site.path("rodent.yml").display().to_string()]);
        assert_eq!(told.code, Some(78), "{lines}: {told:?}");
        assert!(told.err.contains(fault), "{lines}: {}", told.err);
        assert!(!told.err.contains("u:secret") && !told.err.contains("x/secret"), "{}", told.err);
    }
    site.configure(
        r#"
sinks:
  phone:
    type: webhook
    format: ntfy
    url: http://ntfy.lan/nas
    filter: ['level>=warn']
    tell: changes
    quiet: "22:00-07:00"
  bridge:
    type: webhook
    format: standard
    url: https://example.com/hook
    secret_file: [/etc/rodent/hook.secret]
    schedule: [1m, 5m, 15m, 1h, 4h]
    fallback: {to: phone, after: 10m}
"#,
    );
    let told = site.rodent(&["config", "check", &site.path("rodent.yml").display().to_string()]);
    assert!(!told.err.contains("sinks.phone") && !told.err.contains("sinks.bridge.fallback"), "{told:?}");
    site.configure(
        "sinks:\n  a: {type: webhook, url: 'https://hooks.example.com/XYZZY', http_proxy: 'http://u:XYZZY@proxy.lan:3128', \
         rename: {pool_name: pool}}",
    );
    let shown = site.rodent(&["config", "show", &site.path("rodent.yml").display().to_string()]);
    let text = format!("{}{}", shown.out, shown.err);
    assert!(text.contains("https://hooks.example.com") && !text.contains("XYZZY"), "{text}");
    assert!(text.contains("http://proxy.lan:3128") && text.contains("pool_name"), "{text}");
}
