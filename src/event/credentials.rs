//! Cuts out of a place's address who may go there, and with which password: what events say leaves the machine.
//!
//! Whatever stands before the `@` of a host goes, a user without a password too: a token stands alone there as often as a
//! name, and a name is that of a person. Where it cannot be told whether an `@` belongs to a host or to a path, it goes.

use std::borrow::Cow;

/// The source of a mount, or another address of a place: `ftp://h/x`, `//server/share`, `curlftpfs#ftp://h`, `host:/path`,
/// `remote:path`. A path and the name of a device stay as they are.
pub fn without_credentials(source: &str) -> Cow<'_, str> {
    // `curlftpfs#h`, `s3fs#bucket`: the program that mounts, and what it is given.
    let place = source.split_once('#').filter(|(program, _)| is_name(program)).map_or(source, |(_, place)| place);
    let program = source.strip_suffix(place).unwrap_or_default();
    if let Some(remote) = without_parameters(place) {
        return Cow::Owned(format!("{program}{remote}"));
    }
    // A password may hold a space or a quote.
    let ends = |_| false;
    if place.contains("://") {
        return cut_urls(source, ends);
    }
    let (before, host) = match place.strip_prefix("//") {
        Some(share) => ("//", host_and_path(share, ends)),
        None if place.starts_with('/') => ("", place),
        None if program.is_empty() => ("", after(place, host_of(place, ends).rfind('@'))),
        None => ("", host_and_path(place, ends)),
    };
    Cow::Owned(format!("{program}{before}{host}"))
}

/// Any text, in which there may be a URL.
pub fn text_without_credentials(text: &str) -> Cow<'_, str> {
    cut_urls(text, |c| c.is_whitespace() || matches!(c, '"' | '\'' | '?' | '#'))
}

/// `ends` are characters with which a URL ends, or at least its host.
fn cut_urls(text: &str, ends: fn(char) -> bool) -> Cow<'_, str> {
    let mut parts = text.split("://");
    let mut cut = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        cut.push_str("://");
        cut.push_str(host_and_path(part, ends));
    }
    if cut == text { Cow::Borrowed(text) } else { Cow::Owned(cut) }
}

/// Of what begins with `user:password@host`: from the host on.
fn host_and_path(place: &str, ends: fn(char) -> bool) -> &str {
    let authority = host_of(place, ends);
    let meant = || {
        // `bob:pa/ss@h`: no port is `pa`, so the slash was meant to be of the password.
        let (_, port) = authority.rsplit_once(':').filter(|_| !authority.ends_with(']'))?;
        let is_port = port.bytes().all(|b| b.is_ascii_digit());
        place.split(ends).next().filter(|_| !is_port)?.rfind('@')
    };
    after(place, authority.rfind('@').or_else(meant))
}

/// With user and password, up to where the path begins, or the text goes on.
fn host_of(place: &str, ends: fn(char) -> bool) -> &str {
    place.split(|c| c == '/' || ends(c)).next().unwrap_or_default()
}

fn after(text: &str, at: Option<usize>) -> &str {
    at.and_then(|at| text.get(at + 1..)).unwrap_or(text)
}

/// A remote of rclone that is described in place: `:ftp,host=h,pass=x:path` is `:ftp:path`, whatever its parameters are.
fn without_parameters(place: &str) -> Option<String> {
    let (remote, rest) = place.split_once(',')?;
    let is_remote = is_name(remote.strip_prefix(':').unwrap_or(remote));
    let is_parameter = rest.split_once('=').is_some_and(|(keys, _)| keys.split(',').all(is_name));
    if !is_remote || !is_parameter {
        return None;
    }
    // A value in quotes may hold anything.
    let mut quote = None;
    let path = rest.char_indices().find(|(_, c)| {
        match quote {
            Some(open) if open == *c => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(*c),
            _ => {}
        }
        quote.is_none() && *c == ':'
    });
    Some(format!("{remote}{}", path.and_then(|(at, _)| rest.get(at..)).unwrap_or_default()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_and_password_are_cut_out_of_every_way_to_write_a_source() {
        for (source, cut) in [
            ("ftp://bob:pw@h/x", "ftp://h/x"),
            ("ftp://bob@h/x", "ftp://h/x"),
            ("https://ghp_token@h", "https://h"),
            ("curlftpfs#ftp://u:p@h", "curlftpfs#ftp://h"),
            ("curlftpfs#u:p@h/x", "curlftpfs#h/x"),
            ("//user:pw@server/share", "//server/share"),
            ("//DOMAIN;user%pw@server/share", "//server/share"),
            ("bob@host:/path", "host:/path"),
            ("bob@host:", "host:"),
            ("u:p@h/x", "h/x"),
            ("s3fs#key:secret@bucket", "s3fs#bucket"),
            ("s3fs#key:sec/ret@bucket", "s3fs#bucket"),
            ("admin@b3acfc0d.cephfs=/", "b3acfc0d.cephfs=/"),
            // As it is to be written, as it is not, and twice.
            ("ftp://bob:p%40s%2Fs@h/x", "ftp://h/x"),
            ("ftp://bob:p@ss@h/x", "ftp://h/x"),
            ("ftp://bob:pa/ss@h/x", "ftp://h/x"),
            ("ftp://bob:p w\"@h/x", "ftp://h/x"),
            ("ftp://bob:1?2#3@h/x", "ftp://h/x"),
            ("//bob:p w/@h/x", "//h/x"),
            ("ftp://a:b@c/x;ftp://d:e@f/y", "ftp://c/x;ftp://f/y"),
            ("ftp://u:p@[2001:db8::1]:21/x", "ftp://[2001:db8::1]:21/x"),
            ("bob@[fe80::1%eth0]:/path", "[fe80::1%eth0]:/path"),
            (":ftp,host=h,user=u,pass=S3CRET:dir/x", ":ftp:dir/x"),
            (":webdav,url='https://u:p@h:1/',pass=S3CRET:x", ":webdav:x"),
            ("remote,versions,pass='S3CRET:dir", "remote"),
            (":sftp,pass=\"a:b,c@d\",host=h:x", ":sftp:x"),
            ("remote,pass=S3CRET:", "remote:"),
            ("remote,pass=S3CRET", "remote"),
        ] {
            assert_eq!(without_credentials(source), cut, "{source}");
        }
    }

    #[test]
    fn what_holds_no_credentials_stays_as_it_is() {
        for source in [
            "/dev/sda1",
            "/dev/disk/by-id/usb-a:b@c",
            "/mnt/a:/mnt/b",
            "tank/home",
            "tank/home@daily",
            "//server/share@2026",
            "ftp://h:21/a@b",
            "ftp://[::1]:21/a@b",
            "ftp://[::1]/a@b",
            "nas:/export/a@b",
            "[::1]:/export",
            "remote:dir/a@b",
            "remote{Xy1z}:dir",
            "10.0.0.1:6789,10.0.0.2:6789:/",
            "mon1,mon2:/path",
            "tmpfs",
            "",
        ] {
            assert_eq!(without_credentials(source), source);
        }
    }

    #[test]
    fn in_a_text_only_urls_are_cut() {
        let text = "key at https://bob:pw@h/key, mail bob@h, rw=@10.0.0.0/8";
        assert_eq!(text_without_credentials(text), "key at https://h/key, mail bob@h, rw=@10.0.0.0/8");
        assert_eq!(text_without_credentials("\"ftp://u:p@h\" and 'ftp://v@h'"), "\"ftp://h\" and 'ftp://h'");
    }

    proptest! {
        #[test]
        fn no_password_of_a_url_is_left(
            scheme in "[a-z#]{1,6}://|//|", user in "[a-z]{1,4}", host in "[a-z]{1,5}(:[0-9]{1,4})?", path in "(/[a-z@]{0,5}){0,3}",
        ) {
            let scheme = scheme.trim_start_matches('#');
            let cut = without_credentials(&format!("{scheme}{user}:S3CRET@{host}{path}")).into_owned();
            prop_assert_eq!(cut, format!("{scheme}{host}{path}"));
        }

        #[test]
        fn any_text_is_cut_without_a_panic_and_none_becomes_longer(text in ".{0,40}", odd in "[a@:/#,='ü]{0,20}") {
            for text in [text, odd] {
                prop_assert!(text_without_credentials(&text).len() <= text.len());
                prop_assert!(without_credentials(&text).len() <= text.len());
            }
        }
    }
}
